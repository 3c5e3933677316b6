#!/usr/bin/env python3
"""The other side of the benchmark: the same work as crosstie's, done with public Python libraries.

    step   training steps of a multi-task model in plain PyTorch, written in three ways
    train  from files to a saved model, one epoch or more, as the library's own documentation does it
    score  bulk scoring of a file, and the time that one ranking request takes

Every subcommand prints one JSON object as the last line of stdout; all else goes to stderr. What a
time covers is in the docstring of the function that measures it.

MKL, which PyTorch multiplies matrices with, takes its fast path by the maker of the processor. On
Intel nothing is needed. On AMD it has to be told (a preloaded library whose `mkl_serv_intel_cpu_true`
returns 1, as bench/run.py does it), or the times of all peers are worse than they could be.
"""

import argparse
import os


def parse_arguments():
    """The command line. It is read before the libraries are loaded: see `limit_threads`."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, peers):
        sub = commands.add_parser(name)
        sub.add_argument("--data", required=True, help="directory of the files")
        sub.add_argument("--peer", required=True, choices=peers)
        sub.add_argument("--threads", type=int, default=1)
        return sub

    step = command("step", ["plain", "dense", "tuned"])
    step.add_argument("--model", choices=["mmoe", "shared-bottom"], default="mmoe")
    step.add_argument("--batch", type=int, default=4096)
    step.add_argument("--rows", type=int, required=True, help="train on the first N rows")
    step.add_argument("--compile", action="store_true", help="compile the network with torch.compile")
    step.add_argument("--bfloat16", action="store_true", help="matrix products in bfloat16, by autocast")
    step.add_argument("--experts", choices=["separate", "stacked"], default="separate", help="of tuned MMoE")

    train = command("train", ["torch-rechub", "deepctr-torch", "fuxictr"])
    train.add_argument("--batch", type=int, default=4096)
    train.add_argument("--format", choices=["parquet", "csv"], default="parquet")
    train.add_argument("--rows", type=int, help="train on the first N rows, validate and test on N / 8 each")
    train.add_argument("--epochs", type=int, default=1, help="with more than 1, figures of every epoch as well")

    score = command("score", ["plain", "onnx"])
    score.add_argument("--rows", type=int, required=True, help="rows of the bulk scoring")
    score.add_argument("--repeat", type=int, default=1000, help="number of requests")
    return parser.parse_args()


def limit_threads(threads):
    """OpenMP, OpenBLAS and Polars take their number of threads when they are loaded, not later."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = str(threads)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


if __name__ == "__main__":
    ARGUMENTS = parse_arguments()
    limit_threads(ARGUMENTS.threads)

import importlib.metadata
import itertools
import json
import logging
import math
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

SEED = 1
LEARNING_RATE = 1e-3
EMBEDDING_WIDTH = 16

# ---------------------------------------------------------------------------------------------
# What all subcommands share.


def package_versions(*packages):
    """The installed version of each package, and Python's."""
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **versions}


def peak_mib():
    """The most memory that this process has held so far, children not counted."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def finite(number):
    """A number as JSON has it: nothing for the AUC of labels that are all alike."""
    return float(number) if math.isfinite(number) else None


def auc(labels, probabilities):
    """The area under the ROC curve of each column."""
    return [finite(roc_auc_score(*column)) for column in zip(labels.T, probabilities.T)]


def count_rows(file):
    """The rows of a parquet or CSV file."""
    if file.suffix == ".parquet":
        return pq.ParquetFile(file).metadata.num_rows
    with open(file) as lines:
        return sum(1 for _ in lines) - 1


def count_weights(model):
    """The number of dense parameters, and of weights in embedding tables."""
    tables = sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Embedding))
    return {"parameters": sum(p.numel() for p in model.parameters()) - tables, "table_weights": tables}


# ---------------------------------------------------------------------------------------------
# The workload of `step` and `score`: 20 fields, two tasks.

FIELDS = [f"f{number:02}" for number in range(20)]
LABELS = ["click", "like"]
EXPERTS = 8
INPUT = len(FIELDS) * EMBEDDING_WIDTH
HIDDEN, REPRESENTATION, TOWER = 256, 128, 64
WARM_UP_STEPS = 5
SCORING_BATCH = 4096
READ_ROWS = 65_536
# Row 0 of a table is for unknown values. Row 1 would be for missing ones; there are none here, but
# the table keeps the row so that it is as large as crosstie's.
RESERVED_ROWS = 2


def read_vocabularies(data):
    """The sorted distinct values of every field, over the training file and the file of all values, one
    column at a time."""
    files = [data / "train.parquet", data / "values.parquet"]
    columns = ([pq.read_table(file, columns=[name]).column(0).to_numpy() for file in files] for name in FIELDS)
    return [np.unique(np.concatenate(parts)) for parts in columns]


def encode(values, vocabulary):
    """The table row of each value of one field."""
    position = np.minimum(np.searchsorted(vocabulary, values), len(vocabulary) - 1)
    return np.where(vocabulary[position] == values, position + RESERVED_ROWS, 0)


def encode_fields(piece, vocabularies):
    """Table rows of all fields of a record batch, as an int64 array of one line per example."""
    columns = [encode(piece.column(name).to_numpy(), values) for name, values in zip(FIELDS, vocabularies)]
    return np.stack(columns, axis=1)


def read_pieces(file, rows, names=None):
    """The first rows of a file as record batches, from its beginning again when it ends."""
    while rows > 0:
        for piece in pq.ParquetFile(file).iter_batches(READ_ROWS, columns=names):
            piece = piece.slice(0, rows)
            yield piece
            rows -= piece.num_rows
            if rows == 0:
                return


def read_examples(file, vocabularies, rows):
    """Encoded ids and labels of the first rows of a file, as tensors."""
    ids = np.empty((rows, len(FIELDS)), np.int64)
    labels = np.empty((rows, len(LABELS)), np.float32)
    first = 0
    for piece in read_pieces(file, rows, FIELDS + LABELS):
        end = first + piece.num_rows
        ids[first:end] = encode_fields(piece, vocabularies)
        labels[first:end] = np.stack([piece.column(name).to_numpy() for name in LABELS], axis=1)
        first = end
    return torch.from_numpy(ids), torch.from_numpy(labels)


def uniform_parameter(inputs, *shape):
    """A weight or bias of a layer with so many inputs, with the initial values that nn.Linear gives."""
    bound = 1 / math.sqrt(inputs)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def initialise_table(table):
    """Uniform with standard deviation 0.05."""
    nn.init.uniform_(table.weight, -0.05 * math.sqrt(3), 0.05 * math.sqrt(3))


class TablePerField(nn.Module):
    """One nn.Embedding per field, their outputs side by side."""

    def __init__(self, table_rows, sparse):
        super().__init__()
        self.fields = nn.ModuleList(nn.Embedding(rows, EMBEDDING_WIDTH, sparse=sparse) for rows in table_rows)
        for table in self.fields:
            initialise_table(table)

    def forward(self, ids):
        return torch.cat([table(ids[:, field]) for field, table in enumerate(self.fields)], dim=1)


class OneTable(nn.Module):
    """All fields in one nn.Embedding, each from its own offset: one lookup instead of twenty."""

    def __init__(self, table_rows, sparse):
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0, *itertools.accumulate(table_rows)][:-1]))
        self.table = nn.Embedding(sum(table_rows), EMBEDDING_WIDTH, sparse=sparse)
        initialise_table(self.table)

    def forward(self, ids):
        return self.table(ids + self.offsets).flatten(1)


def two_layers(inputs, hidden, outputs, inplace=False):
    """Linear, ReLU, Linear."""
    return [nn.Linear(inputs, hidden), nn.ReLU(inplace), nn.Linear(hidden, outputs)]


class PlainMMoE(nn.Module):
    """The usual way to write MMoE: one module per expert, gate and tower."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(*two_layers(INPUT, HIDDEN, REPRESENTATION), nn.ReLU()) for _ in range(EXPERTS)
        )
        self.gates = nn.ModuleList(nn.Linear(INPUT, EXPERTS, bias=False) for _ in LABELS)
        self.towers = nn.ModuleList(nn.Sequential(*two_layers(REPRESENTATION, TOWER, 1)) for _ in LABELS)

    def forward(self, inputs):
        experts = torch.stack([expert(inputs) for expert in self.experts], dim=1)
        logits = []
        for gate, tower in zip(self.gates, self.towers):
            weights = torch.softmax(gate(inputs), dim=1).unsqueeze(1)
            logits.append(tower(torch.bmm(weights, experts).squeeze(1)))
        return torch.cat(logits, dim=1)


class PlainSharedBottom(nn.Module):
    """Shared bottom: one network for both tasks, then a tower per task."""

    def __init__(self):
        super().__init__()
        self.bottom = nn.Sequential(*two_layers(INPUT, HIDDEN, REPRESENTATION), nn.ReLU())
        self.towers = nn.ModuleList(nn.Sequential(*two_layers(REPRESENTATION, TOWER, 1)) for _ in LABELS)

    def forward(self, inputs):
        shared = self.bottom(inputs)
        return torch.cat([tower(shared) for tower in self.towers], dim=1)


class BatchedTowers(nn.Module):
    """All towers at once, as batched matrix products over [task, example, feature]."""

    def __init__(self):
        super().__init__()
        tasks = len(LABELS)
        self.first = uniform_parameter(REPRESENTATION, tasks, REPRESENTATION, TOWER)
        self.first_bias = uniform_parameter(REPRESENTATION, tasks, 1, TOWER)
        self.second = uniform_parameter(TOWER, tasks, TOWER, 1)
        self.second_bias = uniform_parameter(TOWER, tasks, 1, 1)

    def forward(self, shared):
        hidden = torch.baddbmm(self.first_bias, shared, self.first).relu_()
        return torch.baddbmm(self.second_bias, hidden, self.second).squeeze(2).t()


class StackedExperts(nn.Module):
    """All experts at once: the first layers as one product, the second as one batched product."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(INPUT, EXPERTS * HIDDEN)
        self.second = uniform_parameter(HIDDEN, EXPERTS, HIDDEN, REPRESENTATION)
        self.second_bias = uniform_parameter(HIDDEN, EXPERTS, 1, REPRESENTATION)

    def forward(self, inputs):
        hidden = self.first(inputs).relu_().view(-1, EXPERTS, HIDDEN).transpose(0, 1)
        return torch.baddbmm(self.second_bias, hidden, self.second).relu_().transpose(0, 1)


class SeparateExperts(nn.Module):
    """One expert after the other, with ReLU in place: what one expert needs stays in the cache."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(*two_layers(INPUT, HIDDEN, REPRESENTATION, inplace=True), nn.ReLU(inplace=True))
            for _ in range(EXPERTS)
        )

    def forward(self, inputs):
        return torch.cat([expert(inputs) for expert in self.experts], dim=1).view(-1, EXPERTS, REPRESENTATION)


class TunedMMoE(nn.Module):
    """MMoE with fewer and larger operations: both gates as one product, batched towers."""

    def __init__(self, experts):
        super().__init__()
        self.experts = experts
        self.gates = nn.Linear(INPUT, len(LABELS) * EXPERTS, bias=False)
        self.towers = BatchedTowers()

    def forward(self, inputs):
        weights = torch.softmax(self.gates(inputs).view(-1, len(LABELS), EXPERTS), dim=2)
        return self.towers(torch.bmm(weights, self.experts(inputs)).transpose(0, 1))


class TunedSharedBottom(nn.Module):
    """Shared bottom with ReLU in place and batched towers."""

    def __init__(self):
        super().__init__()
        layers = two_layers(INPUT, HIDDEN, REPRESENTATION, inplace=True)
        self.bottom = nn.Sequential(*layers, nn.ReLU(inplace=True))
        self.towers = BatchedTowers()

    def forward(self, inputs):
        return self.towers(self.bottom(inputs).expand(len(LABELS), -1, -1))


class Recommender(nn.Module):
    """Tables, and the network over what they give. Its outputs are logits."""

    def __init__(self, tables, network):
        super().__init__()
        self.tables = tables
        self.network = network

    def forward(self, ids):
        return self.network(self.tables(ids))


def build_model(peer, model, table_rows, sparse, experts="separate"):
    """The model of a peer. `plain` and `dense` are written in the usual way. `tuned` has one table for all
    fields and the networks above. Its experts are separate: stacking them moves [example, expert, hidden]
    around in memory, and was about a tenth slower on one thread at each batch size tried, 256 to 4,096."""
    if peer == "tuned":
        experts = SeparateExperts if experts == "separate" else StackedExperts
        network = TunedMMoE(experts()) if model == "mmoe" else TunedSharedBottom()
        return Recommender(OneTable(table_rows, sparse), network)
    network = PlainMMoE() if model == "mmoe" else PlainSharedBottom()
    return Recommender(TablePerField(table_rows, sparse), network)


def step_optimizers(peer, model):
    """Adam for the dense parameters and SparseAdam for the tables; for the peer `dense`, Adam for all,
    which moves every row of every table at every step."""
    if peer == "dense":
        return [torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)]
    # PyTorch picks the fused loop by itself on GPUs only.
    fused = {"fused": True} if peer == "tuned" else {}
    return [
        torch.optim.Adam(model.network.parameters(), lr=LEARNING_RATE, **fused),
        torch.optim.SparseAdam(list(model.tables.parameters()), lr=LEARNING_RATE),
    ]


def timed_steps(model, optimizers, batches, bfloat16):
    """Seconds of every step: zero_grad, forward, loss, backward, optimiser. The batches are tensors
    in memory already. bfloat16 is for the forward pass, as PyTorch advises; the backward pass follows it."""
    seconds = []
    for ids, labels in batches:
        start = time.perf_counter()
        for optimizer in optimizers:
            optimizer.zero_grad()
        # The mean is over examples and tasks: times the tasks it is the sum of the tasks' means.
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(ids)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels) * len(LABELS)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds


def score_in_batches(model, ids):
    """Probabilities of all rows, in batches."""
    with torch.inference_mode():
        logits = [model(batch) for batch in ids.split(SCORING_BATCH)]
        return torch.sigmoid(torch.cat(logits).double()).numpy()


def run_step(arguments):
    """One pass over the first rows of train.parquet in the file's order.

    Timed: the steps (see `timed_steps`) but for the first few, in which PyTorch warms up. Not timed:
    reading, encoding, making batches, scoring the test."""
    torch.manual_seed(SEED)
    imports = peak_mib()
    data = Path(arguments.data)
    vocabularies = read_vocabularies(data)
    rows = min(arguments.rows, count_rows(data / "train.parquet"))
    ids, labels = read_examples(data / "train.parquet", vocabularies, rows)
    batches = list(zip(ids.split(arguments.batch), labels.split(arguments.batch)))
    warm_up = min(WARM_UP_STEPS, len(batches) - 1)

    table_rows = [len(vocabulary) + RESERVED_ROWS for vocabulary in vocabularies]
    sparse = arguments.peer != "dense"
    model = build_model(arguments.peer, arguments.model, table_rows, sparse, arguments.experts)
    optimizers = step_optimizers(arguments.peer, model)
    if arguments.compile:
        # Not the tables: torch.compile cannot handle their sparse gradients.
        model.network.compile()
    seconds = timed_steps(model, optimizers, batches, arguments.bfloat16)
    timed_rows = sum(len(ids) for ids, _ in batches[warm_up:])
    peak = peak_mib()

    test = data / "test.parquet"
    test_ids, test_labels = read_examples(test, vocabularies, count_rows(test))
    probabilities, test_labels = score_in_batches(model, test_ids), test_labels.numpy()
    losses = [log_loss(*column, labels=[0, 1]) for column in zip(test_labels.T, probabilities.T)]
    return {
        "peer": arguments.peer,
        "model": arguments.model,
        "compile": arguments.compile,
        "bfloat16": arguments.bfloat16,
        "experts": arguments.experts,
        "batch": arguments.batch,
        "threads": arguments.threads,
        "rows": rows,
        "timed_steps": len(batches) - warm_up,
        "rows_per_s": round(timed_rows / sum(seconds[warm_up:]), 1),
        "median_step_ms": round(float(np.median(seconds[warm_up:])) * 1e3, 3),
        **count_weights(model),
        "auc": dict(zip(LABELS, auc(test_labels, probabilities))),
        "log_loss": dict(zip(LABELS, map(float, losses))),
        # Two parts of the peak that can be taken off: the libraries' own code, and all batches at once.
        "peak_mib": peak,
        "imports_mib": imports,
        "batches_mib": round((ids.nbytes + labels.nbytes) / 2**20),
        "versions": package_versions("torch", "numpy"),
    }


# ---------------------------------------------------------------------------------------------
# train: from files to a saved model, with the libraries' own ways.

TASKS = ["click", "like", "follow", "cart", "buy"]
TEXT_CATEGORIES = ["segment", "city", "category", "brand", "device", "scenario"]
INTEGER_CATEGORIES = ["user_id", "item_id", "hour", "position"]
CATEGORIES = TEXT_CATEGORIES + INTEGER_CATEGORIES
NUMBERS = ["age", "activity", "price"]
TAGS = "tags"
LOG_EXPERTS = 6
EXPERT_LAYERS = [128, 64]
TOWER_LAYERS = [32]
SPLITS = ["train", "valid", "test"]


class Stopwatch:
    """Seconds of the parts of a run, and of the whole."""

    def __init__(self):
        self.begun = self.last = time.perf_counter()
        self.parts = {}

    def pause(self, seconds):
        """The last seconds do not count."""
        self.begun += seconds
        self.last += seconds

    def done(self, part):
        now = time.perf_counter()
        self.parts[part] = round(now - self.last, 3)
        self.last = now

    def report(self):
        return {"seconds": round(self.last - self.begun, 3), **self.parts}


class Epochs:
    """The figures of every epoch: seconds since the clock's start, AUCs of the validation and of the test.
    The test is scored while the clock stands."""

    def __init__(self, count, watch):
        self.count = count
        self.watch = watch
        self.found = []

    def done(self, validate, test):
        """After an epoch and the library's own validation. `validate` and `test` give AUCs by task."""
        if self.count == 1:
            return
        now = time.perf_counter()
        seconds = round(now - self.watch.begun, 3)
        found = {"epoch": len(self.found) + 1, "seconds": seconds, "valid_auc": validate(), "test_auc": test()}
        self.found.append(found)
        logging.warning("%s", found)
        self.watch.pause(time.perf_counter() - now)


def cut_files(data, file_format, rows, target):
    """Writes the first rows of every file to another directory, before any clock runs."""
    for split in SPLITS:
        limit = rows if split == "train" else rows // 8
        source, copy = data / f"{split}.{file_format}", target / f"{split}.{file_format}"
        if file_format == "csv":
            with open(source) as lines, open(copy, "w") as out:
                out.writelines(itertools.islice(lines, limit + 1))
        else:
            with pq.ParquetWriter(copy, pq.read_schema(source)) as writer:
                for piece in read_pieces(source, min(limit, count_rows(source))):
                    writer.write_batch(piece)


def read_and_encode_together(data, file_format):
    """Reads and encodes the three files as the examples of torch-rechub and DeepCTR do: joined into one
    frame, LabelEncoder for categories, MinMaxScaler for numbers, tags as padded lists. Both libraries'
    examples fit on all rows, so no value of the test is ever unknown.

    Returns inputs and labels by split, and the number of values of every category."""
    import pandas as pd
    from sklearn.preprocessing import LabelEncoder, MinMaxScaler

    columns = CATEGORIES + NUMBERS + [TAGS] + TASKS
    if file_format == "csv":
        frames = [pd.read_csv(data / f"{split}.csv", usecols=columns) for split in SPLITS]
    else:
        frames = [pd.read_parquet(data / f"{split}.parquet", columns=columns) for split in SPLITS]
    frame = pd.concat(frames, ignore_index=True)
    # An action that could not happen, as its parent did not, is a negative to these libraries.
    frame[TASKS] = frame[TASKS].fillna(0)
    for name in CATEGORIES:
        frame[name] = LabelEncoder().fit_transform(frame[name])
    frame[NUMBERS] = MinMaxScaler().fit_transform(frame[NUMBERS])
    tags, tag_count = encode_tags(frame[TAGS].fillna(""))

    inputs = {name: frame[name].to_numpy() for name in CATEGORIES + NUMBERS} | {TAGS: tags}
    labels = frame[TASKS].to_numpy()
    sizes = {name: int(inputs[name].max()) + 1 for name in CATEGORIES} | {TAGS: tag_count}
    ends = list(itertools.accumulate(len(frame) for frame in frames))
    spans = {split: slice(start, end) for split, start, end in zip(SPLITS, [0, *ends], ends)}
    parts = {
        split: ({name: values[span] for name, values in inputs.items()}, labels[span])
        for split, span in spans.items()
    }
    return parts, sizes


def encode_tags(texts):
    """Tags as numbers from 1, lists filled up with 0 to the longest; and how many numbers there are."""
    numbers = {}
    lists = [[numbers.setdefault(tag, len(numbers) + 1) for tag in text.split(",")] for text in texts]
    padded = np.zeros((len(lists), max(map(len, lists))), np.int64)
    for row, tags in enumerate(lists):
        padded[row, : len(tags)] = tags
    return padded, len(numbers) + 1


def train_torch_rechub(data, file_format, batch, scratch, watch, epochs):
    """torch-rechub as in its multi-task examples: DataGenerator, MMOE, MTLTrainer, with the trainer's
    default weight decay. Its MLP has batch normalisation after every layer, gates included, and no way
    to leave it out. `fit` validates after the epoch and saves the model."""
    from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
    from torch_rechub.models.multi_task import MMOE
    from torch_rechub.trainers import MTLTrainer
    from torch_rechub.utils.data import DataGenerator

    parts, sizes = read_and_encode_together(data, file_format)
    generator = DataGenerator(*parts["train"])
    (valid_inputs, valid_labels), (test_inputs, test_labels) = parts["valid"], parts["test"]
    train_loader, valid_loader, test_loader = generator.generate_dataloader(
        x_val=valid_inputs, y_val=valid_labels, x_test=test_inputs, y_test=test_labels, batch_size=batch
    )
    watch.done("read_encode_seconds")

    features = [SparseFeature(name, sizes[name], embed_dim=EMBEDDING_WIDTH) for name in CATEGORIES]
    features.append(SequenceFeature(TAGS, sizes[TAGS], EMBEDDING_WIDTH, pooling="mean", padding_idx=0))
    features.extend(DenseFeature(name) for name in NUMBERS)
    task_types = ["classification"] * len(TASKS)
    model = MMOE(
        features,
        task_types,
        n_expert=LOG_EXPERTS,
        expert_params={"dims": EXPERT_LAYERS, "activation": "relu", "dropout": 0},
        tower_params_list=[{"dims": TOWER_LAYERS, "activation": "relu", "dropout": 0} for _ in TASKS],
    )

    def by_task(scores):
        return dict(zip(TASKS, map(finite, scores)))

    class Trainer(MTLTrainer):
        """Tells of every epoch."""

        def evaluate(self, model, loader):
            evaluate = super().evaluate
            scores = evaluate(model, loader)
            if loader is valid_loader:
                epochs.done(lambda: by_task(scores), lambda: by_task(evaluate(model, test_loader)))
            return scores

    trainer = Trainer(
        model,
        task_types,
        optimizer_params={"lr": LEARNING_RATE, "weight_decay": 1e-5},
        n_epoch=epochs.count,
        device="cpu",
        model_path=str(scratch),
    )
    trainer.fit(train_loader, valid_loader)
    watch.done("train_seconds")

    # Its own metric is sklearn's roc_auc_score per task.
    scores = trainer.evaluate(trainer.model, test_loader)
    watch.done("evaluate_seconds")
    return model, by_task(scores)


def train_deepctr_torch(data, file_format, batch, scratch, watch, epochs):
    """DeepCTR-Torch as in its multi-task and multi-value examples, with the default penalty on the
    embeddings (over whole tables, at every step). Two choices in its favour: the gates are linear as in
    the other libraries (its default has a hidden layer of 64), and `verbose=0`, without which it computes
    the metrics of every training batch. It draws dense weights with a standard deviation of 1e-4, and so
    learns little in its first steps."""
    from deepctr_torch.callbacks import Callback
    from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
    from deepctr_torch.models import MMOE

    parts, sizes = read_and_encode_together(data, file_format)
    watch.done("read_encode_seconds")

    features = [SparseFeat(name, sizes[name], embedding_dim=EMBEDDING_WIDTH) for name in CATEGORIES]
    tags = SparseFeat(TAGS, sizes[TAGS], embedding_dim=EMBEDDING_WIDTH)
    features.append(VarLenSparseFeat(tags, maxlen=parts["train"][0][TAGS].shape[1], combiner="mean"))
    features.extend(DenseFeat(name, 1) for name in NUMBERS)
    model = MMOE(
        features,
        num_experts=LOG_EXPERTS,
        expert_dnn_hidden_units=EXPERT_LAYERS,
        gate_dnn_hidden_units=[],
        tower_dnn_hidden_units=TOWER_LAYERS,
        task_types=["binary"] * len(TASKS),
        task_names=TASKS,
        device="cpu",
    )
    model.compile("adam", loss=["binary_crossentropy"] * len(TASKS), metrics=["binary_crossentropy"])

    def aucs(split):
        inputs, labels = parts[split]
        return dict(zip(TASKS, auc(labels, model.predict(inputs, batch))))

    class Tell(Callback):
        """Tells of every epoch."""

        def on_epoch_end(self, epoch, logs=None):
            epochs.done(lambda: aucs("valid"), lambda: aucs("test"))

    model.fit(
        *parts["train"],
        batch_size=batch,
        epochs=epochs.count,
        verbose=0,
        validation_data=parts["valid"],
        callbacks=[Tell()],
    )
    torch.save(model.state_dict(), scratch / "model.pt")
    watch.done("train_seconds")

    scores = aucs("test")
    watch.done("evaluate_seconds")
    return model, scores


def fuxictr_mmoe(feature_map, parameters, tell):
    """MMoE of FuxiCTR's own layers, which tells the figures of every validation. The wheel has the base class for several tasks but not the models,
    which live in the repository's model zoo; this is what the zoo's MMoE does, with linear gates."""
    from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import MultiTaskModel

    class MMoE(MultiTaskModel):
        def __init__(self):
            super().__init__(feature_map, **parameters)
            width = EMBEDDING_WIDTH * feature_map.num_fields
            self.embedding_layer = FeatureEmbedding(feature_map, EMBEDDING_WIDTH)
            self.experts = nn.ModuleList(MLP_Block(width, EXPERT_LAYERS) for _ in range(LOG_EXPERTS))
            self.gates = nn.ModuleList(
                MLP_Block(width, output_dim=LOG_EXPERTS, output_activation="softmax") for _ in TASKS
            )
            self.towers = nn.ModuleList(MLP_Block(EXPERT_LAYERS[-1], TOWER_LAYERS, output_dim=1) for _ in TASKS)
            self.compile(parameters["optimizer"], parameters["loss"], lr=LEARNING_RATE)
            self.reset_parameters()
            self.model_to_device()

        def checkpoint_and_earlystop(self, logs, *more):
            super().checkpoint_and_earlystop(logs, *more)
            tell(logs)

        def forward(self, inputs):
            embedded = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
            experts = torch.stack([expert(embedded) for expert in self.experts], dim=1)
            predictions = {}
            for name, gate, tower, activation in zip(
                self.feature_map.labels, self.gates, self.towers, self.output_activation
            ):
                mixed = (gate(embedded).unsqueeze(2) * experts).sum(dim=1)
                predictions[f"{name}_pred"] = activation(tower(mixed))
            return predictions

    return MMoE()


def train_fuxictr(data, file_format, batch, scratch, watch, epochs):
    """FuxiCTR as its run_expid.py does it: FeatureProcessor and build_dataset (which write encoded
    parquet files), RankDataLoader, fit (which validates and saves), evaluate. It encodes and loads with
    Ray, which starts processes of its own: they do not keep to the number of threads, and their memory
    is not in this process's peak. Numbers are scaled and then embedded as well: it has no other way."""
    from fuxictr.features import FeatureMap
    from fuxictr.preprocess import FeatureProcessor, build_dataset
    from fuxictr.pytorch.dataloaders import RankDataLoader
    from fuxictr.pytorch.torch_utils import seed_everything

    def columns(names, dtype, kind, **more):
        return {"name": names, "active": True, "dtype": dtype, "type": kind, **more}

    dataset = "log"
    parameters = {
        "dataset_id": dataset,
        "data_root": str(scratch),
        "model_root": str(scratch),
        "data_format": file_format,
        **{f"{split}_data": str(data / f"{split}.{file_format}") for split in SPLITS},
        "feature_cols": [
            columns(TEXT_CATEGORIES, "str", "categorical"),
            columns(INTEGER_CATEGORIES, "int", "categorical"),
            columns(NUMBERS, "float", "numeric", normalizer="MinMaxScaler"),
            columns([TAGS], "str", "sequence", splitter=","),
        ],
        "label_col": [{"name": name, "dtype": "float"} for name in TASKS],
        "min_categr_count": 1,
        "model_id": "MMoE",
        "task": ["binary_classification"] * len(TASKS),
        "num_tasks": len(TASKS),
        "loss": ["binary_crossentropy"] * len(TASKS),
        "metrics": ["AUC"],
        "monitor": "AUC",
        "optimizer": "adam",
        "batch_size": batch,
        "epochs": epochs.count,
        "shuffle": True,
        "verbose": 0,
    }
    seed_everything(SEED)
    (scratch / dataset).mkdir()
    encoded = build_dataset(FeatureProcessor(**parameters), **parameters)
    parameters.update((f"{split}_data", file) for split, file in zip(SPLITS, encoded))
    feature_map = FeatureMap(dataset, str(scratch / dataset))
    feature_map.load(str(scratch / dataset / "feature_map.json"), parameters)
    watch.done("read_encode_seconds")

    def by_task(scores):
        return {name: finite(scores[f"{name}_AUC"]) for name in TASKS}

    def tell(scores):
        test = RankDataLoader(feature_map, stage="test", **parameters)
        epochs.done(lambda: by_task(scores), lambda: by_task(model.evaluate(test)))

    model = fuxictr_mmoe(feature_map, parameters, tell)
    train_loader, valid_loader = RankDataLoader(feature_map, stage="train", **parameters)
    model.fit(train_loader, validation_data=valid_loader, **parameters)
    watch.done("train_seconds")

    scores = model.evaluate(RankDataLoader(feature_map, stage="test", **parameters))
    watch.done("evaluate_seconds")
    return model, by_task(scores)


TRAINERS = {"torch-rechub": train_torch_rechub, "deepctr-torch": train_deepctr_torch, "fuxictr": train_fuxictr}
# What a peer loads, to be loaded before the clock runs. PyTorch loads its compiler (torch._dynamo) when
# the first optimiser is made, whether it is used or not.
IMPORTS = {
    "torch-rechub": [
        "torch_rechub.models.multi_task",
        "torch_rechub.trainers",
        "pandas",
        "sklearn.preprocessing",
    ],
    "deepctr-torch": ["deepctr_torch.models", "pandas", "sklearn.preprocessing"],
    "fuxictr": ["fuxictr.preprocess", "fuxictr.pytorch.models", "fuxictr.pytorch.dataloaders"],
}


def run_train(arguments):
    """End to end.

    Timed, in three parts whose sum is `seconds`: reading and encoding all three files; building the
    model, training it, validating it, saving it; scoring the test and computing its AUC. Not timed:
    starting Python and importing the libraries."""
    torch.manual_seed(SEED)
    for module in ["torch._dynamo", *IMPORTS[arguments.peer]]:
        importlib.import_module(module)
    imports = peak_mib()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(arguments.data)
        if arguments.rows:
            data = Path(scratch) / "cut"
            data.mkdir()
            cut_files(Path(arguments.data), arguments.format, arguments.rows, data)
        rows = count_rows(data / f"train.{arguments.format}")
        watch = Stopwatch()
        epochs = Epochs(arguments.epochs, watch)
        model, scores = TRAINERS[arguments.peer](data, arguments.format, arguments.batch, Path(scratch), watch, epochs)
        peak = peak_mib()
    loaders = ["polars", "ray"] if arguments.peer == "fuxictr" else ["pandas", "scikit-learn"]
    return {
        "peer": arguments.peer,
        "format": arguments.format,
        "rows": rows,
        "threads": arguments.threads,
        "batch": arguments.batch,
        **watch.report(),
        **count_weights(model),
        "epochs": epochs.found,
        "auc": scores,
        "peak_mib": peak,
        "imports_mib": imports,
        "versions": package_versions(arguments.peer, "torch", "numpy", "pyarrow", *loaders),
    }


# ---------------------------------------------------------------------------------------------
# score: an untrained MMoE of the step workload; the weights' values do not change the time.

USER_FIELDS = 12
CANDIDATES = 200
REQUEST_WARM_UP = 20


class Probabilities(nn.Module):
    """A model with the sigmoid at its end."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return torch.sigmoid(self.model(ids))


def plain_scorer(model):
    """A function from an array of ids to an array of probabilities, by PyTorch."""

    def score(ids):
        with torch.inference_mode():
            return model(torch.from_numpy(ids)).numpy()

    return score


def onnx_scorer(file, threads):
    """The same by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda ids: session.run(None, {"ids": ids})[0]


def export_onnx(model, file):
    """Writes the model with any number of rows. The older exporter needs no further package."""
    example = torch.zeros(2, len(FIELDS), dtype=torch.int64)
    axes = {"ids": {0: "rows"}, "probabilities": {0: "rows"}}
    torch.onnx.export(
        model,
        (example,),
        str(file),
        input_names=["ids"],
        output_names=["probabilities"],
        dynamic_axes=axes,
        dynamo=False,
    )


def score_file(score, file, vocabularies, rows, target):
    """Timed: reading, encoding, scoring and writing, piece by piece; and the scoring alone. The
    vocabularies and the model are ready before."""
    scoring = 0.0
    start = time.perf_counter()
    schema = pa.schema([(name, pa.float32()) for name in LABELS])
    with pq.ParquetWriter(target, schema) as writer:
        for piece in read_pieces(file, rows, FIELDS):
            ids = encode_fields(piece, vocabularies)
            before = time.perf_counter()
            scores = np.concatenate(
                [score(ids[first : first + SCORING_BATCH]) for first in range(0, len(ids), SCORING_BATCH)]
            )
            scoring += time.perf_counter() - before
            columns = [pa.array(scores[:, task]) for task in range(len(LABELS))]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return time.perf_counter() - start, scoring


def time_requests(score, pool, repeat):
    """Milliseconds from encoded ids in an array to probabilities in an array, for one user and many
    candidates. Users and candidates are drawn from real rows, so that ids are as frequent as they are."""
    random = np.random.default_rng(SEED)
    times = []
    for _ in range(REQUEST_WARM_UP + repeat):
        request = pool[random.integers(len(pool), size=CANDIDATES)]
        request[:, :USER_FIELDS] = pool[random.integers(len(pool)), :USER_FIELDS]
        start = time.perf_counter()
        score(request)
        times.append(time.perf_counter() - start)
    return np.array(times[REQUEST_WARM_UP:]) * 1e3


def run_score(arguments):
    """Bulk scoring with the given threads, then requests on one thread."""
    torch.manual_seed(SEED)
    imports = peak_mib()
    data = Path(arguments.data)
    vocabularies = read_vocabularies(data)
    table_rows = [len(vocabulary) + RESERVED_ROWS for vocabulary in vocabularies]
    pool = encode_fields(next(read_pieces(data / "test.parquet", READ_ROWS, FIELDS)), vocabularies)
    written_as = "plain" if arguments.peer == "plain" else "tuned"
    model = Probabilities(build_model(written_as, "mmoe", table_rows, sparse=False)).eval()

    with tempfile.TemporaryDirectory() as scratch:
        if arguments.peer == "plain":
            scorer = plain_scorer(model)
        else:
            file = Path(scratch) / "model.onnx"
            export_onnx(model, file)
            scorer = onnx_scorer(file, arguments.threads)
        scorer(pool[:SCORING_BATCH])
        target = Path(scratch) / "scores.parquet"
        seconds, scoring = score_file(scorer, data / "test.parquet", vocabularies, arguments.rows, target)

        torch.set_num_threads(1)
        if arguments.peer == "onnx":
            scorer = onnx_scorer(file, threads=1)
        requests = time_requests(scorer, pool, arguments.repeat)
    return {
        "peer": arguments.peer,
        "threads": arguments.threads,
        "rows": arguments.rows,
        "bulk_rows_per_s": round(arguments.rows / seconds, 1),
        "bulk_seconds": round(seconds, 4),
        "score_rows_per_s": round(arguments.rows / scoring, 1),
        "request_ms": {f"p{q}": round(float(np.percentile(requests, q)), 3) for q in (50, 99)},
        "peak_mib": peak_mib(),
        "imports_mib": imports,
        "versions": package_versions("torch", "onnxruntime", "numpy", "pyarrow"),
    }


def main(arguments):
    """Runs the subcommand with everything but the result sent to stderr, libraries' processes included."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    torch.set_num_threads(arguments.threads)
    pa.set_cpu_count(arguments.threads)
    pa.set_io_thread_count(arguments.threads)
    result = {"step": run_step, "train": run_train, "score": run_score}[arguments.command](arguments)
    sys.stdout.flush()
    os.write(stdout, (json.dumps(result, allow_nan=False) + "\n").encode())


if __name__ == "__main__":
    main(ARGUMENTS)
