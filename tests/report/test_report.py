"""The report of a finished run holds all of it, in HTML and PDF, invents nothing, and needs no network to be read."""

import base64
import dataclasses
import io
import json
import shutil
import sys
from html.parser import HTMLParser

import pytest
from command_line import run, snapshot, succeed, write_flowers
from PIL import Image

from fastff import MissingExtra
from fastff.report.answers import QUESTIONS, Answers
from fastff.report.contents import contents, wilson
from fastff.report.finished import PICTURES, read_folder, read_run
from fastff.report.typeset import typeset
from fastff.runs.ablation import read_ablation
from fastff.runs.config import start_from

HEADINGS = [
    "Result",
    "Discussion",
    "What was most impactful",
    "What it gets right and wrong",
    "Configuration",
    "Derivations",
    "Q1 The stabilised softmax and its loss",
    "Q2 The softmax Jacobian",
    "Q3 The gradient of the cross-entropy through the softmax",
    "Backpropagation through a linear layer",
    "Adam with weight decay",
    "Debriefing",
    *QUESTIONS.values(),
]
NASTY = """<b>&"#[]$*_`@~'\\{}//<!--"""


class Page(HTMLParser):
    """The elements of an HTML file: headings, rows of tables, pictures, and whatever would be loaded."""

    VOID = ("meta", "img", "br")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.headings, self.rows, self.pictures, self.loads = [], [], [], [], [], []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "br":
            self.text += "\n"
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "img":
            self.pictures.append(dict(attrs)["src"])
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_startendtag(self, tag, attrs):  # as in SVG
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if {"h1", "h2", "h3"} & set(self.open):
            self.headings[-1] += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if not {"style", "script"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run with all pictures, one of them 4 pixels wide."""
    folder = tmp_path_factory.mktemp("report")
    data = write_flowers(folder)
    succeed("train", data, "--epochs", 2, "--hidden", 8, "--decay", "decoupled", "--out", folder / "run")
    for i, name in enumerate(PICTURES):
        Image.new("RGB", (4 + i, 3), (0, 30 * i, 0)).save(folder / "run" / name)
    return folder / "run"


@pytest.fixture
def folder(trained, tmp_path):
    """A copy to change."""
    return shutil.copytree(trained, tmp_path / "run")


def page(found, answers=None):
    pytest.importorskip("typst", reason="typst is not installed")
    return Page(typeset(contents(found, answers), found.pictures, "html", source="run").decode())


def change(path, **figures):
    path.write_text(json.dumps({**json.loads(path.read_text()), **figures}))


def edited(run, **figures):
    return dataclasses.replace(run, summary={**run.summary, **figures})


# --- the two files


def test_the_command_writes_both_files(folder):
    pytest.importorskip("typst", reason="typst is not installed")
    out = succeed("report", folder)
    assert out.startswith(f"written to {folder}: report.html, report.pdf\n")
    html = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert html.headings == ["flowers: a feed-forward network 4–8–3", *HEADINGS]
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF-")
    before = snapshot(folder)
    succeed("report", folder)
    assert snapshot(folder) == before  # the same run, the same bytes


def test_the_pdf_says_the_same(folder):
    pytest.importorskip("typst", reason="typst is not installed")
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    run = read_run(folder)
    reader = pypdf.PdfReader(io.BytesIO(typeset(contents(run), run.pictures, "pdf", source=folder)))
    text = " ".join(" ".join(sheet.extract_text() for sheet in reader.pages).split())
    for heading in HEADINGS:
        assert heading in text
    for _, value in contents(run)["result"]:
        assert value in text
    assert sum(len(sheet.images) for sheet in reader.pages) == len(PICTURES)
    assert reader.metadata.title == "flowers: a feed-forward network 4–8–3"


def test_the_html_needs_nothing_else(folder):
    html = page(read_run(folder))
    assert all(load.startswith("data:") for load in html.loads)
    assert not {"link", "iframe", "object"} & set(html.tags)
    assert html.tags.count("script") == 1  # page.js
    for source, name in zip(html.pictures, PICTURES, strict=True):
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == (folder / name).read_bytes()


def test_the_mathematics_is_typeset(folder):
    html = page(read_run(folder))
    assert html.tags.count("math") > 50
    assert {"mfrac", "msqrt", "msub", "msup", "munderover"} <= set(html.tags)
    assert html.tags.count("svg") == html.tags.count("math")  # and drawn, for browsers without a font for it
    assert "$" not in html.text


# --- what it says


def test_the_figures_are_those_of_the_run(folder):
    change(folder / "summary.json", test_accuracy=0.8, test_rows=10, train_accuracy=1, val_accuracy=0.9, epochs=1234)
    html = page(read_run(folder))
    rows = dict(row for row in html.rows if len(row) == 2)
    assert rows["Test accuracy"] == "80.00% (8 of 10 rows), 95% interval 49.0% to 94.3%"
    assert rows["Validation accuracy"].startswith("90.00%")
    assert rows["Training accuracy"] == "100.00%"
    assert rows["Epochs"].startswith("1234;")
    assert rows["Parameters"] == str(5 * 8 + 9 * 3)
    assert "Wilson score interval with n = 10 test rows" in html.text


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(hits, rows, low, high):
    assert wilson(hits, rows) == pytest.approx((low, high), abs=5e-5)
    assert wilson(rows - hits, rows) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_without_test_rows_there_is_no_interval(folder):
    change(folder / "summary.json", test_accuracy=None, test_rows=None, test_loss=None)
    html = page(read_run(folder))
    assert dict(row for row in html.rows if len(row) == 2)["Test accuracy"] == "the data set has no test rows"
    assert "no interval" in html.text
    assert "Confusion matrix of the validation rows" in html.text


def test_options_that_differ_stand_beside_their_defaults(folder):
    html = page(read_run(folder))
    start = html.rows.index(["option", "this run", "default"])
    changed = {name: (value, default) for name, value, default in html.rows[start + 1 :]}
    assert changed == {"hidden": ("[8]", "[256, 256]"), "epochs": ("2", "30")}  # without weight decay its form is idle
    assert 'bias_correction = "standard"' in html.text
    assert "Adam with the standard correction and decoupled decay" in html.text


def test_all_defaults_need_no_table(folder):
    options = {**vars(start_from("digits", None, {})), "optimizer": "sgd", "beta1": 0.5, "threads": 2, "data_dir": "x"}
    html = page(dataclasses.replace(read_run(folder), options=options))
    assert html.rows[html.rows.index(["option", "this run", "default"]) + 1 :] == [["optimizer", '"sgd"', '"adam"']]
    html = page(dataclasses.replace(read_run(folder), options={**options, "optimizer": "adam", "beta1": 0.9}))
    assert "Every option has the default for this data set." in html.text
    assert 'optimizer = "adam"' in html.text


def test_a_run_with_sgd_says_so(folder):
    run = read_run(folder)
    html = page(dataclasses.replace(run, options={**run.options, "optimizer": "sgd"}))
    assert "not use Adam but SGD with momentum 0.9" in html.text


def test_only_pictures_that_are_there_are_shown(folder):
    for name in set(PICTURES) - {"confusion.png", "curves.png"}:
        (folder / name).unlink()
    html = page(read_run(folder))
    assert len(html.pictures) == 2
    assert "Confusion matrix" in html.text
    assert "first layer" not in html.text
    for name in ("confusion.png", "curves.png"):
        (folder / name).unlink()
    html = page(read_run(folder))
    assert html.pictures == []
    assert "What it gets right and wrong" not in html.headings


def test_a_picture_of_another_kind_is_shown_by_its_name(folder):
    found = read_run(folder)
    more = dataclasses.replace(found, pictures={**found.pictures, "embedding.png": found.pictures["curves.png"]})
    html = page(more)
    assert len(html.pictures) == len(found.pictures) + 1
    assert "Embedding." in html.text


# --- what was most impactful


def test_what_was_not_measured_is_said_with_the_command_that_measures(folder):
    html = page(read_run(folder))
    assert "Not measured yet." in html.text
    assert f"fastff ablate {folder}" in html.text


def test_what_was_measured_on_this_run_is_a_table_and_a_chart(folder):
    assert run("ablate", folder, "--seeds", 2).status == 0
    html = page(read_run(folder))
    study = read_ablation(folder)
    start = html.rows.index(["left out", "accuracy", "points lost", "seconds"])
    names = [row[0] for row in html.rows[start + 1 : start + 4]]
    assert names == ["nothing", *(part.name for part in study.parts())]
    for row, part in zip(html.rows[start + 2 :], study.parts(), strict=False):
        assert row[1] == f"{100 * part.score:.2f}"
        assert row[2] == f"{100 * part.lost:+.2f} ± {100 * part.error:.2f}".replace("-", "−")
    assert "over the seeds 0, 1" in " ".join(html.text.split())
    assert typeset(contents(read_run(folder)), read_run(folder).pictures, "pdf", source=folder).startswith(b"%PDF-")


def test_a_study_of_another_recipe_or_of_half_of_one_is_not_shown(folder):
    run("ablate", folder, "--seeds", 1)
    whole = json.loads((folder / "ablation.json").read_text())
    assert read_run(folder).ablation is not None
    change(folder / "ablation.json", trainings=whole["trainings"][:-1])
    assert read_run(folder).ablation is None
    change(folder / "ablation.json", trainings=whole["trainings"], options={**whole["options"], "epochs": 9})
    assert read_run(folder).ablation is None


# --- what a person adds


def test_answers_and_names_are_in_both_forms(folder):
    pytest.importorskip("typst", reason="typst is not installed")
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    (folder / "mine.md").write_text(
        "Course: CS 1\nDate: a day\n\n# Discussion\nMy own\nwords.\n\n- one\n- two\n## Any other comments?\nNone."
    )
    succeed("report", folder, "--answers", folder / "mine.md", "--author", "A. Student", "--date", "1 May")
    html = Page((folder / "report.html").read_text(encoding="utf-8"))
    pages = pypdf.PdfReader(folder / "report.pdf").pages
    paper = " ".join(" ".join(sheet.extract_text() for sheet in pages).split())
    for text in (" ".join(html.text.split()), paper):
        for words in ("A. Student · 1 May · CS 1", "My own words.", "- one - two", "None."):
            assert words in text
        assert "Drafted by fastff" not in text
    assert not (folder / "answers.md").exists()


def test_a_template_is_written_once_and_filled_in_it_is_the_report(folder):
    pytest.importorskip("typst", reason="typst is not installed")
    out = succeed("report", folder)
    assert f"--answers {folder / 'answers.md'}" in out
    template = folder / "answers.md"
    text = template.read_text(encoding="utf-8")
    assert contents(read_run(folder))["discussion"] in text
    template.write_text(text.replace("Author:", "Author: Somebody"), encoding="utf-8")
    succeed("report", folder)
    assert "Author: Somebody" in template.read_text(encoding="utf-8")
    succeed("report", folder, "--answers", template)
    assert "Somebody" in (folder / "report.html").read_text(encoding="utf-8")


# --- folders of several


def test_a_folder_of_seeds_says_how_they_spread(tmp_path):
    data = write_flowers(tmp_path)
    assert run("train", data, "--epochs", 2, "--hidden", 8, "--seeds", 3, "--out", tmp_path / "run").status == 0
    found = read_folder(tmp_path / "run")
    html = page(found)
    start = html.rows.index(["", "mean", "standard deviation", "lowest to highest"])
    values = json.loads((tmp_path / "run" / "seeds.json").read_text())["test_accuracy"]
    wanted = [f"{values['mean']:.2%}", f"{100 * values['std']:.2f}"]
    assert html.rows[start + 1] == [
        "Test accuracy", *wanted, f"{min(values['values']):.2%} to {max(values['values']):.2%}"
    ]  # fmt: skip
    assert "What follows is the run with seed 0." in html.text
    assert "Over 3 seeds the test accuracy is" in html.text
    succeed("report", tmp_path / "run")
    assert (tmp_path / "run" / "report.pdf").exists()
    change(tmp_path / "run" / "seeds.json", test_accuracy={"values": [1, "x", 2]})
    fails(tmp_path / "run", "seeds.json", "test_accuracy")
    change(tmp_path / "run" / "seeds.json", seeds=[])
    fails(tmp_path / "run", "seeds.json", "seeds = []")


def test_a_search_is_reported_with_its_best_trials(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    data, folder = write_flowers(tmp_path), tmp_path / "search"
    assert run("tune", data, "--trials", 4, "--epochs", 1, "--jobs", 1, "--out", folder, pictures=True).status == 0
    html = page(read_folder(folder))
    assert html.headings[0] == "flowers: a search for the best options"
    accuracies = [float(cell) for row in html.rows if row[0] == "val accuracy" for cell in row[1:]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(html.pictures) == 1
    assert "trials, number" in html.text
    (folder / "trials.csv").write_text("trial,state\n1,complete\n")
    fails(folder, "trials.csv", "not the table of a search")


# --- names are texts


def test_names_are_never_markup(folder):
    run = edited(read_run(folder), dataset=NASTY)
    options = {**run.options, "dataset": f"a/{NASTY * 9}.csv", "target": NASTY}
    model = dataclasses.replace(run.model, class_names=(NASTY, "#panic()", "</td><script>alert(1)</script>"))
    run = dataclasses.replace(run, options=options, model=model)
    answers = Answers(dict.fromkeys(("discussion", "hours"), NASTY * 2) | {"author": NASTY, "course": NASTY})
    html = page(run, answers=answers)
    assert html.headings[0].startswith(f"{NASTY}: a feed-forward network")
    assert f"target = {json.dumps(NASTY)}" in html.text
    assert ["Classes", f"3: {NASTY}, #panic(), </td><script>alert(1)</script>"] in html.rows
    assert f"{NASTY} · {NASTY}" in html.text
    assert html.text.count(NASTY * 2) == 2
    assert html.tags.count("script") == 1
    assert typeset(contents(run), run.pictures, "pdf", source=folder).startswith(b"%PDF-")


def test_many_classes_are_counted(folder):
    run = read_run(folder)
    model = dataclasses.replace(run.model, class_names=tuple(map(str, range(100))))
    assert ["Classes", "100: not named here"] in contents(dataclasses.replace(run, model=model))["result"]


# --- errors


def fails(folder, *words):
    """The report fails in one line with these words and leaves the folder as it was."""
    before = snapshot(folder)
    result = run("report", folder)
    assert (result.status, result.out) == (1, "")
    assert len(result.err.splitlines()) == 1
    for word in (str(folder), *words):
        assert word in result.err
    assert snapshot(folder) == before


def test_a_folder_without_a_summary(folder):
    (folder / "summary.json").unlink()
    fails(folder, "has no summary.json, want the folder of a finished run")
    fails(folder / "nowhere", "no such folder")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1]", "\ud800", '{"dataset": "x"}'])
def test_a_damaged_summary(folder, text):
    (folder / "summary.json").write_bytes(text.encode(errors="surrogatepass"))
    fails(folder, "summary.json", "want")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", 5),
        ("test_accuracy", "high"),
        ("test_accuracy", 97.8),
        ("val_accuracy", None),
        ("train_accuracy", True),
        ("test_rows", 0),
        ("test_rows", None),
        ("epochs", 2.5),
        ("best_epoch", -1),
        ("parameters", [1]),
        ("train_seconds", "1 s"),
    ],
)
def test_a_wrong_figure_in_the_summary(folder, name, value):
    change(folder / "summary.json", **{name: value})
    fails(folder, "summary.json", f"{name} = {value!r}", "want")


@pytest.mark.parametrize("text", ["epochs = ", 'epochs = "many"', "colour = 1"])
def test_a_damaged_config(folder, text):
    (folder / "config.toml").write_text(text)
    fails(folder, "config.toml")


def test_a_missing_file(folder):
    (folder / "config.toml").unlink()
    fails(folder, "config.toml")


def test_a_damaged_network(folder):
    (folder / "best.safetensors").write_bytes(b"none")
    fails(folder, "best.safetensors")


def test_a_damaged_picture(folder):
    pytest.importorskip("typst", reason="typst is not installed")
    picture = folder / "curves.png"
    picture.write_bytes(picture.read_bytes()[:40])
    fails(folder, "image")


def test_a_picture_that_cannot_be_read(folder):
    (folder / "curves.png").unlink()
    (folder / "curves.png").mkdir()
    fails(folder, "curves.png")


def test_without_typst(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    before = snapshot(folder)
    result = run("report", folder)
    assert (result.status, result.err) == (1, 'error: writing reports needs typst: pip install "fastff[report]"\n')
    assert snapshot(folder) == before
    with pytest.raises(MissingExtra):
        typeset({}, {}, "pdf", source=folder)


def test_no_space_to_set_it(folder, monkeypatch):
    pytest.importorskip("typst", reason="typst is not installed")
    monkeypatch.setattr("tempfile.tempdir", str(folder / "nowhere"))
    result = run("report", folder)
    assert result.status == 1
    assert str(folder / "nowhere") in result.err
    assert result.err.startswith("error: cannot set the report in a temporary folder: ")


@pytest.mark.parametrize(
    "text", ["no json", '{"epoch": 1}\n', '{"epoch": 1, "train_loss": 1, "val_loss": "x", "val_accuracy": 0.5}']
)
def test_damaged_metrics(folder, text):
    (folder / "metrics.jsonl").write_text(text)
    fails(folder, "metrics.jsonl", "not the metrics of a run", "want a record a line")


@pytest.mark.parametrize("text", ["", "trial,state\n0,complete\n", "trial,state,val_accuracy\n0,complete,high\n"])
def test_a_damaged_table_of_trials(folder, text):
    (folder / "summary.json").unlink()
    (folder / "trials.csv").write_text(text)
    (folder / "best.toml").write_text("")
    fails(folder, "trials.csv", "not the table of a search", "want that of fastff.tune")
