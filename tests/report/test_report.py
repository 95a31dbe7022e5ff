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
from fastff.report import contents as said
from fastff.report.contents import ablation_of, contents, studies, wilson
from fastff.report.finished import PICTURES as ALL_PICTURES
from fastff.report.finished import read_run
from fastff.report.typeset import typeset

PICTURES = ALL_PICTURES[:4]  # of a classification
QUESTIONS = [
    "Approximately how many hours did you take to complete this assignment?",
    "Would you rate it as easy, moderate, or difficult?",
    "Did you work on it mostly alone or did you discuss the problems with others?",
    "How deeply do you feel you understand the material it covers (0%-100%)?",
    "Any other comments?",
]
HEADINGS = [
    "Result",
    "Configuration",
    "What was most impactful",
    "What it gets right and wrong",
    "Derivations",
    "Q1 The stabilised softmax and its loss",
    "Q2 The softmax Jacobian",
    "Q3 The gradient of the cross-entropy through the softmax",
    "Backpropagation through a linear layer",
    "Adam with weight decay",
    "Debriefing",
    *QUESTIONS,
]
NASTY = """<b>&"#[]$*_`@~'\\{}//<!--"""
MADE_UP = {
    "dataset": "flowers",
    "preset": "best",
    "seeds": [3, 4],
    "baseline": {"mean": 90.0, "spread": 0.5},
    "rows": [
        {"removed": "a gain", "mean": 91.0, "spread": 0.25, "difference": 1.0},
        {"removed": "the most", "mean": 77.5, "spread": 0.75, "difference": -12.5},
    ],
}


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
        if tag in ("h1", "h2", "h3"):
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
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run with four pictures, one of them 4 pixels wide."""
    folder = tmp_path_factory.mktemp("report")
    data = write_flowers(folder)
    succeed("train", data, "--epochs", 2, "--hidden", 8, "--decay", "decoupled", "--out", folder / "run")
    for i, name in enumerate(PICTURES):
        Image.new("RGB", (4 + i, 3), (0, 80 * i, 0)).save(folder / "run" / name)
    return folder / "run"


@pytest.fixture
def folder(trained, tmp_path):
    """A copy to change."""
    return shutil.copytree(trained, tmp_path / "run")


def page(run, pictures=None):
    pytest.importorskip("typst", reason="typst is not installed")
    pictures = run.pictures if pictures is None else pictures
    return Page(typeset(contents(run), pictures, "html", source="run").decode())


def change(path, **figures):
    path.write_text(json.dumps({**json.loads(path.read_text()), **figures}))


def edited(run, **figures):
    return dataclasses.replace(run, summary={**run.summary, **figures})


# --- the two files


def test_the_command_writes_both_files(folder):
    pytest.importorskip("typst", reason="typst is not installed")
    out = succeed("report", folder)
    assert out == f"written to {folder}: report.html, report.pdf\n"
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
    assert not {"script", "link", "iframe", "object"} & set(html.tags)
    for source, name in zip(html.pictures, PICTURES, strict=True):
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == (folder / name).read_bytes()


def test_the_mathematics_is_typeset(folder):
    html = page(read_run(folder))
    assert html.tags.count("math") > 50
    assert {"mfrac", "msqrt", "msub", "msup", "munderover"} <= set(html.tags)
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
    assert set(changed) == {"dataset", "hidden", "epochs", "decay"}
    assert changed["hidden"] == ("[8]", "[256, 256]")
    assert changed["decay"] == ('"decoupled"', '"l2"')
    assert 'bias_correction = "standard"' in html.text
    assert "Adam with the standard correction and decoupled decay" in html.text


def test_all_defaults_need_no_table(folder):
    html = page(dataclasses.replace(read_run(folder), options={"dataset": "digits", "optimizer": "adam"}))
    assert "Every option has its default." in html.text
    assert 'optimizer = "adam"' in html.text


def test_a_run_with_sgd_says_so(folder):
    run = read_run(folder)
    html = page(dataclasses.replace(run, options={**run.options, "optimizer": "sgd"}))
    assert "not use Adam but SGD with momentum 0.9" in html.text


def test_only_pictures_that_are_there_are_shown(folder):
    for name in ("examples.png", "weights.png"):
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


# --- what was most impactful


def test_what_was_not_measured_is_said(folder):
    html = page(read_run(folder))
    assert "Not measured for this data set (flowers)." in html.text
    assert ablation_of("flowers", [{**MADE_UP, "rows": []}]) is None
    assert ablation_of("digits", [MADE_UP]) is None


def test_what_was_measured_is_a_table_and_a_chart(folder, monkeypatch):
    monkeypatch.setattr(said, "studies", lambda: [{**MADE_UP, "dataset": "digits"}, MADE_UP])
    html = page(read_run(folder))
    start = html.rows.index(["removed", "mean", "spread", "difference"])
    assert html.rows[start + 1 :] == [
        ["nothing", "90.00", "0.50", ""],
        ["the most", "77.50", "0.75", "−12.50"],
        ["a gain", "91.00", "0.25", "+1.00"],
    ]
    assert "The most impactful part is the most: without it the accuracy changes by −12.50 points" in html.text
    assert "seeds 3, 4" in " ".join(html.text.split())
    assert "svg" in html.tags
    assert typeset(contents(read_run(folder)), {}, "pdf", source=folder).startswith(b"%PDF-")


def test_the_measurements_in_the_package_can_be_shown():
    for study in studies():
        assert isinstance(study["dataset"], str)
        assert isinstance(study["preset"], str)
        shown = ablation_of(study["dataset"], [study])
        if study["rows"]:
            assert len(study["seeds"]) > 1
            assert len(shown["rows"]) == len(study["rows"])
            for row in study["rows"]:
                assert row["difference"] == pytest.approx(row["mean"] - study["baseline"]["mean"], abs=0.011)
        else:
            assert shown is None


# --- names are texts


def test_names_are_never_markup(folder):
    run = edited(read_run(folder), dataset=NASTY)
    options = {**run.options, "dataset": f"a/{NASTY * 9}.csv", "target": NASTY}
    model = dataclasses.replace(run.model, class_names=(NASTY, "#panic()", "</td><script>alert(1)</script>"))
    run = dataclasses.replace(run, options=options, model=model)
    html = page(run)
    assert html.headings[0].startswith(f"{NASTY}: a feed-forward network")
    assert ["target", json.dumps(NASTY), "not set"] in html.rows
    assert ["Classes", f"3: {NASTY}, #panic(), </td><script>alert(1)</script>"] in html.rows
    assert f"Not measured for this data set ({NASTY})." in html.text
    assert "script" not in html.tags
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
    fails(folder / "nowhere", "has no summary.json")


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
