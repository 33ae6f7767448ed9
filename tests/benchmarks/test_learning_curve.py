"""The learning curve: whose clips are drawn, how long is trained, what is written."""

import pytest

from benchmarks import learning_curve
from benchmarks.recipes import Recipe, Result

HEADER = "client_id\tpath\tsentence\n"


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    folder = tmp_path / "shared" / "release" / "fr"
    (folder / "clips").mkdir(parents=True)
    (folder / "clips" / "0.mp3").write_bytes(b"sound")
    rows = "".join(f"a\t{i}.mp3\tPhrase {i}.\n" for i in range(40))
    for split in "train", "dev", "test":
        (folder / f"{split}.tsv").write_text(HEADER + rows, encoding="utf-8")
    monkeypatch.setattr(learning_curve, "CORPORA", str(tmp_path / "shared"))
    return folder


def recipe(**values):
    kinds = {"name": "french", "config": "configs/commonvoice_fr_small.yaml", "budget_min": 45}
    return Recipe(**{**kinds, "corpus": "release/fr", **values})


def test_a_smaller_share_is_part_of_a_larger_one_and_dev_and_test_are_whole(corpus, tmp_path):
    drawn = {}
    for percent in 10, 50, 100:
        part = learning_curve.part_of(recipe(), percent, tmp_path / "curve")
        folder = tmp_path / "curve" / "corpora" / part.corpus
        header, *rows = (folder / "train.tsv").read_text(encoding="utf-8").splitlines()
        assert header + "\n" == HEADER and len(rows) == len(set(rows)) == 40 * percent // 100
        drawn[percent] = set(rows)
        for split in "dev", "test":
            assert (folder / f"{split}.tsv").read_bytes() == (corpus / f"{split}.tsv").read_bytes()
        assert (folder / "clips" / "0.mp3").read_bytes() == b"sound"
    assert drawn[10] < drawn[50] < drawn[100]


def test_fewer_clips_are_trained_for_more_epochs_and_all_of_them_as_the_recipe_says(
    corpus, tmp_path
):
    """12 epochs, warm-up over 700 of 12 n steps: of a tenth, 21 epochs and 700 · 0.1 · 21 / 12."""
    config = tmp_path / "config.yaml"
    config.write_text("num_epochs: 12\nwarmup_steps: 700\n")
    whole = recipe(config=str(config), flags="--seed 3")
    folder = tmp_path / "my curve"
    flags = [
        learning_curve.part_of(whole, percent, folder, "--units bpe").flags for percent in (100, 10)
    ]
    root = f"--seed 3 --datasetroot '{folder / 'corpora'}'"
    assert flags[0] == f"{root} --num_epochs 12 --warmup_steps 700 --units bpe"
    assert flags[1] == f"{root} --num_epochs 21 --warmup_steps 122 --units bpe"


@pytest.mark.slow
def test_each_share_is_trained_and_scored_once_and_stands_in_the_table(
    corpus, tmp_path, monkeypatch, capsys
):
    trained, scored = [], []

    def run(part, seed, folder):
        result = Result(name=part.name, seed=seed, ended=True)
        trained.append((part.name, part.is_experiment))
        found = learning_curve.read_result(folder, part.name, seed)
        return found if found.test else result

    def test(model, flags):
        scored.append((model.parent.name, flags[3]))
        return {"wer": 0.9, "cer": 0.4567}

    monkeypatch.setattr(learning_curve, "run", run)
    monkeypatch.setattr(learning_curve, "test", test)
    monkeypatch.setattr(learning_curve, "read_list", lambda: {"french": recipe()})
    page, plot = tmp_path / "page.md", tmp_path / "curve.png"
    page.write_text("# A\n<!-- measured: learning curve -->\n<!-- end of measured -->\nend\n")
    monkeypatch.setattr("benchmarks.recipes.PAGE", page)
    monkeypatch.setattr(learning_curve, "PLOT", plot)
    words = ["learning_curve.py", "french", "--percents", "10", "50", "--folder", str(tmp_path)]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", [*words, "--write"])
        assert learning_curve.main() == 0
    assert trained == 2 * [("french-10-percent", True), ("french-50-percent", True)]
    assert scored == [("french-10-percent-1", "release"), ("french-50-percent-1", "release")]
    assert page.read_text() == (
        "# A\n<!-- measured: learning curve -->\n"
        "| clips | french: WER, CER |\n|--:|--:|\n"
        "| 10 % | 90.0, 45.7 % |\n| 50 % | 90.0, 45.7 % |\n"
        "<!-- end of measured -->\nend\n"
    )
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dutch"], "no recipe dutch; there are digits, demo, french"),
        (["french", "--percents", "0"], "invalid choice: 0"),
        (["french-pretrained"], "starts from another model, which has heard all clips"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_trained(words, said, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["learning_curve.py", *words])
    with pytest.raises(SystemExit) as ended:
        learning_curve.main()
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_a_page_without_a_place_for_the_table_is_an_error(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("# A\n")
    monkeypatch.setattr("benchmarks.recipes.PAGE", page)
    monkeypatch.setattr("sys.argv", ["learning_curve.py", "--write", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="needs one line <!-- measured: learning curve -->"):
        learning_curve.main()


def test_a_folder_is_meant_from_where_the_command_is_given(corpus, tmp_path, monkeypatch):
    folders = []

    def run(part, seed, folder):
        folders.append((folder, part.flags))
        return Result(name=part.name, seed=seed, test={"greedy": {}})

    monkeypatch.setattr(learning_curve, "run", run)
    monkeypatch.setattr(learning_curve, "read_list", lambda: {"french": recipe()})
    monkeypatch.chdir(tmp_path)
    words = ["learning_curve.py", "french", "--percents", "10", "--folder", "here"]
    monkeypatch.setattr("sys.argv", words)
    learning_curve.main()
    ((folder, flags),) = folders
    assert folder == tmp_path / "here" and f"--datasetroot {tmp_path / 'here/corpora'}" in flags
