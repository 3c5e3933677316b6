"""Two tasks with quadratic losses, balanced and descended, for `balance::tests`.  pip install numpy==2.4.6

Written from the papers' equations (Kendall 2018, Liu 2019, Chen 2018, Yu 2020) and from docs/methods.md
(MultiBalance), in float64.
x = [shared, shared, task 0's own, task 1's own, four numbers of two shared embedding rows].
L_i(x) = 1/2 sum_k A[i][k] (x_k - C[i][k])^2; one step of SGD at 0.1 after each of six steps, two to an epoch.
"""
import numpy as np

A = np.array([[1.0, 2.0, 0.5, 0.0, 1.0, 0.5, 2.0, 1.0], [0.5, 3.0, 0.0, 4.0, 2.0, 1.0, 0.5, 3.0]])
C = np.array([[1.0, -1.0, 2.0, 0.0, 0.5, 1.0, -0.5, 1.5], [-2.0, 1.5, 0.0, 1.0, -1.0, 0.5, 1.0, 1.0]])
SHARED = np.array([1, 1, 0, 0, 1, 1, 1, 1], bool)
W = slice(0, 2)  # GradNorm's shared weights
RATE, STEPS, K = 0.1, 6, 2


def losses(x):
    return (0.5 * A * (x - C) ** 2).sum(1)


def gradients(x):
    return A * (x - C)


class Adam:
    def __init__(self, x, rate):
        self.x, self.rate, self.m, self.v, self.t = np.array(x, float), rate, 0.0, 0.0, 0

    def step(self, g):
        self.t += 1
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g * g
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        self.x = self.x - self.rate * m / (np.sqrt(v) + 1e-8)


class Fixed:
    def weights(self, epoch):
        return np.ones(K)

    def direction(self, x, w):
        return w @ gradients(x)


class Uncertainty(Fixed):
    def __init__(self):
        self.s = Adam([0.0, 0.0], 0.05)

    def weights(self, epoch):
        return np.exp(-self.s.x)

    def direction(self, x, w):
        self.s.step(0.5 - losses(x) * np.exp(-self.s.x))
        return w @ gradients(x)


class Dwa(Fixed):
    def __init__(self):
        self.history = {}

    def weights(self, epoch):
        self.epoch = epoch
        if epoch < 3:
            return np.ones(K)
        r = np.mean(self.history[epoch - 1], 0) / np.mean(self.history[epoch - 2], 0)
        e = np.exp(r / 2.0)
        return K * e / e.sum()

    def direction(self, x, w):
        self.history.setdefault(self.epoch, []).append(losses(x))
        return w @ gradients(x)


class GradNorm(Fixed):
    def __init__(self):
        self.w, self.start = Adam([1.0, 1.0], 0.05), None

    def weights(self, epoch):
        return self.w.x

    def direction(self, x, w):
        direction = w @ gradients(x)
        self.start = losses(x) if self.start is None else self.start
        n = np.linalg.norm(gradients(x)[:, W], axis=1)
        ratio = losses(x) / self.start
        target = (w * n).mean() * (ratio / ratio.mean()) ** 1.5
        self.w.step(np.sign(w * n - target) * n)
        self.w.x = self.w.x * K / self.w.x.sum()
        return direction


class PcGrad(Fixed):
    def direction(self, x, w):
        g = gradients(x)
        changed = g.copy()
        for i, j in [(0, 1), (1, 0)]:
            dot = changed[i][SHARED] @ g[j][SHARED]
            if dot < 0:
                changed[i][SHARED] -= dot / (g[j][SHARED] @ g[j][SHARED]) * g[j][SHARED]
        return changed.sum(0)


class MultiBalance(Fixed):
    def __init__(self):
        self.m, self.steps = np.zeros(K), 0

    def weights(self, epoch):
        if self.steps == 0:
            return np.ones(K)
        m = self.m / (1 - 0.9**self.steps)
        return K / m / (1 / m).sum()

    def direction(self, x, w):
        g = gradients(x)
        # The table's rows stand for what is shared.
        self.m, self.steps = 0.9 * self.m + 0.1 * np.linalg.norm(g[:, 4:], axis=1), self.steps + 1
        return w @ g


for method in [Fixed, Uncertainty, Dwa, GradNorm, PcGrad, MultiBalance]:
    balance, x = method(), np.zeros(8)
    for step in range(STEPS):
        w = balance.weights(step // 2 + 1)
        x = x - RATE * balance.direction(x, w)
    last = balance.weights((STEPS - 1) // 2 + 1)
    print(method.__name__.lower(), "x", [round(float(v), 6) for v in x], "w", [round(float(v), 6) for v in last])

# GradNorm with three tasks, initial losses of three steps and a change in every second step, where tasks
# are absent (a mean of 0) from some batches: the others share what they had.
MEANS = np.array([[0.6, 0.2, 0.0], [0.5, 0.0, 0.01], [0.4, 0.3, 0.02], [0.5, 0.2, 0.0], [0.3, 0.1, 0.03], [0.2, 0.2, 0.01],
                  [0.0, 0.1, 0.0], [0.3, 0.0, 0.02], [0.1, 0.1, 0.01], [0.2, 0.1, 0.03]])
NORMS = np.array([1.0, 0.5, 0.125])
INITIAL_STEPS, EVERY = 3, 2
adams, first = [Adam(1.0, 0.05) for _ in NORMS], [[] for _ in NORMS]
for step, means in enumerate(MEANS, 1):
    present = [i for i in range(3) if means[i] > 0]
    for i in present:
        if len(first[i]) < INITIAL_STEPS:
            first[i].append(means[i])
    if len(present) < 2 or step % EVERY != 0:
        continue
    w = np.array([float(adam.x) for adam in adams])
    n = NORMS[present] * step
    ratio = np.array([means[i] / np.mean(first[i]) for i in present])
    target = (w[present] * n).mean() * (ratio / ratio.mean()) ** 1.5
    for i, slope in zip(present, np.sign(w[present] * n - target) * n):
        adams[i].step(slope)
    rest = 3 - sum(w[i] for i in range(3) if i not in present)
    total = sum(float(adams[i].x) for i in present)
    for i in present:
        adams[i].x = adams[i].x * rest / total
    print("step", step, [round(float(adam.x), 6) for adam in adams])
