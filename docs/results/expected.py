"""Figures in the mean over all labels that a known truth could have given."""


def expected_auc(weights, truth, scores):
    """The AUC of some scores, on rows that are in the sample space with a probability of `weights`."""
    order = sorted(range(len(scores)), key=scores.__getitem__)
    below = wins = positives = negatives = 0.0
    at = 0
    while at < len(order):
        end, up, down = at, 0.0, 0.0
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            row = order[end]
            up += weights[row] * truth[row]
            down += weights[row] * (1 - truth[row])
            end += 1
        wins += up * (below + down / 2)
        below, positives, negatives, at = below + down, positives + up, negatives + down, end
    return wins / (positives * negatives)
