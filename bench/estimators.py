"""fastff.sklearn beside scikit-learn: python bench/estimators.py [--seeds N] [--fashion-mnist DIR]

Fits the same estimator with its defaults on real data sets that come with scikit-learn (and on Fashion-MNIST, if the
folder of its IDX files is given): mean and standard deviation of the test score over seeds, and the median time of a
fit, the two libraries taking turns. Then fits of 10 to 300,000 rows, and a grid search of 50 small fits with two jobs.
Prints the tables of docs/sklearn.md.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

from fastff import load_dataset
from fastff import sklearn as fast

SETS = {
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "digits": datasets.load_digits,
    "diabetes (R²)": datasets.load_diabetes,
    "20,000 x 50, made": lambda return_X_y: datasets.make_classification(
        20_000, 50, n_informative=20, n_classes=5, random_state=0
    ),
}


SIZES = {10: 200, 30: 200, 100: 200, 300: 200, 1_000: 100, 3_000: 50, 10_000: 20, 30_000: 10, 100_000: 5, 300_000: 3}


def sizes():
    """Fits of 20 columns by default parameters, but for as many epochs as SIZES says for each number of rows."""
    rng = np.random.default_rng(0)
    print("\n| rows | epochs | fastff | scikit-learn | |\n|---|---|---|---|---|")
    for rows, epochs in SIZES.items():
        x = rng.standard_normal((rows, 20))
        y, times = (x @ rng.standard_normal((20, 3))).argmax(1), {}
        for _ in range(6):
            for library in (fast, neural_network):
                model = library.MLPClassifier(max_iter=epochs, n_iter_no_change=epochs, random_state=0)
                start = time.perf_counter()
                model.fit(x, y)
                times.setdefault(library, []).append(1e3 * (time.perf_counter() - start))
        ours, theirs = (sorted(times[library][1:]) for library in (fast, neural_network))
        cells = [f"{each[2]:,.0f} ms ({each[0]:,.0f}-{each[-1]:,.0f})" for each in (ours, theirs)]
        print(f"| {rows:,} | {epochs} | {' | '.join(cells)} | {theirs[2] / ours[2]:.2g}x |", flush=True)


def splits(name, seed, fashion):
    if name == "fashion-mnist":
        data = load_dataset("fashion-mnist", data_dir=fashion)
        parts = data.x_train / np.float32(255), data.x_test / np.float32(255), data.y_train, data.y_test
    else:
        parts = train_test_split(*SETS[name](return_X_y=True), random_state=seed, test_size=0.25)
    scaler = StandardScaler().fit(parts[0])
    return scaler.transform(parts[0]), scaler.transform(parts[1]), *parts[2:]


def compare(name, seeds, fashion, options):
    scores, times = {}, {}
    kind = "MLPRegressor" if "R²" in name else "MLPClassifier"
    for seed in range(seeds):
        x_train, x_test, y_train, y_test = splits(name, seed, fashion)
        for library in (fast, neural_network):
            model = getattr(library, kind)(random_state=seed, **options)
            start = time.perf_counter()
            model.fit(x_train, y_train)
            times.setdefault(library, []).append(time.perf_counter() - start)
            scores.setdefault(library, []).append(model.score(x_test, y_test))
    (ours, theirs), (fit, slow) = ([each[library] for library in (fast, neural_network)] for each in (scores, times))
    print(
        f"| {name} | {np.mean(ours):.4f} ± {np.std(ours):.4f} | {np.mean(theirs):.4f} ± {np.std(theirs):.4f} "
        f"| {statistics.median(fit):.3f} s | {statistics.median(slow):.3f} s "
        f"| {statistics.median(slow) / statistics.median(fit):.1f}x |",
        flush=True,
    )


def grid():
    x, y = datasets.load_digits(return_X_y=True)
    x, times = x / 16, {}
    for _ in range(3):
        for library in (fast, neural_network):
            model = library.MLPClassifier((32,), batch_size=32, max_iter=20, random_state=0)
            search = GridSearchCV(model, {"alpha": np.geomspace(1e-5, 1, 10)}, cv=5, n_jobs=2, refit=False)
            start = time.perf_counter()
            search.fit(x, y)
            times.setdefault(library, []).append(time.perf_counter() - start)
    ours, theirs = (statistics.median(times[library]) for library in (fast, neural_network))
    print(f"\n50 fits of 64-32-10, batch 32, two jobs: {ours:.2f} s, {theirs:.2f} s, {theirs / ours:.1f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fashion-mnist", metavar="DIR")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    fast.MLPClassifier(max_iter=1).fit(np.zeros((2, 1)), [0, 1])  # compiles
    print("| data | fastff | scikit-learn | fit | scikit-learn's fit | |\n|---|---|---|---|---|---|")
    for name in SETS:
        compare(name, options.seeds, None, {})
    if options.fashion_mnist:
        compare("fashion-mnist", 2, options.fashion_mnist, {"max_iter": 10})
    sizes()
    grid()


if __name__ == "__main__":
    main()
