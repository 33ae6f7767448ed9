"""`check`: every fault found, named once, and nothing else accused; what train makes of them."""

import json
import math
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_ctc.base.errors import UserError
from asr_ctc.check import corpus_check
from asr_ctc.check.corpus_check import check_corpus
from asr_ctc.check.report import CheckReport, Verdict
from asr_ctc.check.scan import measure
from asr_ctc.check.screen import as_text
from asr_ctc.check.suggestions import suggested_batch_size
from asr_ctc.check.texts import Overlap, alphabet, repeated_sentences, unicode_forms
from asr_ctc.commands import main as cli
from asr_ctc.config.load import make_config
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.exclude import exclude_listed, read_excluded
from asr_ctc.display.charts import Axis
from asr_ctc.text.charmap import CharMap
from asr_ctc.text.languages import LANGUAGES
from asr_ctc.text.writing import Writing
from tests.helpers.command import SMALL, call
from tests.helpers.corpora import corpus_folder
from tools.toy_corpus import RATE_HZ, make_toy_corpus, speak

COUNTS = 40, 10, 10


# ------------------------------------------------------------------- a corpus with every fault


class Rows:
    """The rows of one TSV, to be changed; clip i of the toy corpus is row i."""

    def __init__(self, folder: Path, split: str):
        self.file, self.clips, self.split = folder / f"{split}.tsv", folder / "clips", split
        header, *lines = self.file.read_text(encoding="utf-8").splitlines()
        self.columns = header.split("\t")
        self.rows = [line.split("\t") for line in lines]

    def clip(self, i: int) -> Path:
        return self.clips / self.get(i, "path")

    def get(self, i: int, column: str) -> str:
        return self.rows[i][self.columns.index(column)]

    def set(self, i: int, column: str, value: str) -> None:
        self.rows[i][self.columns.index(column)] = value

    def write_wav(self, i: int, samples: np.ndarray, subtype: str = "PCM_16") -> None:
        """Clip i becomes a WAV file of other samples."""
        self.set(i, "path", Path(self.get(i, "path")).stem + ".wav")
        soundfile.write(self.clip(i), samples, RATE_HZ, subtype)

    def save(self) -> None:
        lines = ["\t".join(row) for row in [self.columns, *self.rows]]
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def break_everything(folder: Path) -> dict[tuple[str, str], str]:
    """Puts every fault into a toy corpus; returns {(split, clip): kind} of all but the shared."""
    train, dev, test = (Rows(folder, split) for split in ("train", "dev", "test"))
    noise = np.random.default_rng(1)
    spoken = [speak(train.get(i, "sentence"), noise) for i in range(COUNTS[0])]
    steady = 0.1 * noise.standard_normal(RATE_HZ * 2)

    train.clip(0).unlink()
    train.clip(1).write_bytes(b"")
    train.clip(2).write_text("this is not audio")
    train.write_wav(3, spoken[3])
    train.clip(3).write_bytes(train.clip(3).read_bytes()[:20_000])
    train.write_wav(4, np.zeros(2 * RATE_HZ))
    train.write_wav(5, spoken[5] * 10 ** (-70 / 20), "FLOAT")
    train.write_wav(6, spoken[6] * 10 ** (-36 / 20))
    train.write_wav(7, np.clip(8 * spoken[7], -1, 1))
    train.write_wav(8, np.full(2 * RATE_HZ, 0.25))
    train.write_wav(9, steady)
    train.write_wav(10, np.full(2 * RATE_HZ, np.nan), "FLOAT")
    train.set(11, "sentence", "   ")
    train.set(12, "sentence", "Abcdefgh " * 20)
    train.set(13, "sentence", "Ab")
    train.write_wav(13, speak("abcdefgh abcdefgh", noise))
    train.write_wav(14, spoken[14][: RATE_HZ // 50])
    for a, b in ((15, 16), (17, 18)):  # the same samples; the second pair with one transcript
        train.clip(b).write_bytes(train.clip(a).read_bytes())
    train.set(18, "sentence", train.get(17, "sentence"))
    train.clip(19).write_bytes(test.clip(0).read_bytes())
    train.set(19, "sentence", test.get(0, "sentence"))
    dev.clip(0).unlink()
    test.write_wav(1, np.zeros(2 * RATE_HZ))

    train.set(20, "sentence", train.get(21, "sentence").upper())  # a sentence read twice
    train.set(22, "sentence", dev.get(2, "sentence"))
    train.set(23, "client_id", test.get(3, "client_id"))
    train.set(24, "sentence", train.get(24, "sentence").replace(".", " e\u0301."))
    train.set(25, "sentence", train.get(25, "sentence").replace(".", " \u00e9."))
    train.set(26, "sentence", train.get(26, "sentence").replace(".", " ☃."))
    train.set(27, "sentence", train.get(27, "sentence").replace(".", " d’a."))
    train.set(28, "sentence", train.get(28, "sentence").replace(".", " d'a."))
    train.rows[29] = train.rows[29][:2]
    for rows in (train, dev, test):
        rows.save()
    kinds = {
        "missing": [train.get(0, "path")],
        "unreadable": [train.get(i, "path") for i in (1, 2, 10)],
        "truncated": [train.get(3, "path")],
        "silent": [train.get(i, "path") for i in (4, 5)],
        "near-silent": [train.get(6, "path")],
        "clipped": [train.get(7, "path")],
        "nearly constant": [train.get(i, "path") for i in (8, 9)],
        "empty transcript": [train.get(11, "path")],
        "too long": [train.get(12, "path")],
        "implausible rate": [train.get(13, "path")],
        "too short": [train.get(14, "path")],
        "duplicate audio": [train.get(i, "path") for i in (15, 16, 18, 19)],
        "bad row": ["train.tsv line 31"],
    }
    faults = {("train", clip): kind for kind, clips in kinds.items() for clip in clips}
    return {
        **faults,
        ("dev", dev.get(0, "path")): "missing",
        ("test", test.get(1, "path")): "silent",
    }


def configuration(root: Path, **flags):
    return make_config({}, {"datasetroot": str(root), "nthreads": 0, "min_duration": 0.5, **flags})


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """(root, faults, report, folder of the report's files) of a corpus with every fault."""
    root = tmp_path_factory.mktemp("broken")
    faults = break_everything(make_toy_corpus(root, COUNTS))
    out = root / "report"
    report, _ = check_corpus(configuration(root, out=str(out)))
    return root, faults, report, out


def accused(report: CheckReport) -> list[tuple]:
    return [
        ((clip.split, clip.clip), kind)
        for kind, group in report.faults.items()
        for clip in group.clips
    ]


def test_a_clean_corpus_is_not_accused_of_anything(toy_root, tmp_path):
    report, files = check_corpus(configuration(toy_root, out=str(tmp_path)))
    assert report.verdict == Verdict(can_train=True, problems=[])
    assert report.faults == {} and report.shared.speakers == report.shared.sentences == []
    assert report.unicode.variants == {} and not report.unicode.mixed
    assert [file.name for file in files] == ["report.html", "report.json", "exclude.txt"]
    assert read_excluded(tmp_path / "exclude.txt") == {}
    assert "--exclude" not in report.suggestions.command


def test_every_fault_is_found_and_named_once_and_nothing_else(broken):
    _, faults, report, _ = broken
    found = accused(report)
    assert dict(found) == faults
    assert len(found) == len(faults)


def test_reasons_say_what_was_found(broken):
    _, _, report, _ = broken
    reasons = {c.clip: c.reason for group in report.faults.values() for c in group.clips}
    assert reasons["toy_train_0.mp3"] == "no such file"
    assert reasons["toy_train_3.wav"].startswith("truncated: 0.62 s decoded of ")
    assert reasons["toy_train_4.wav"] == "no sound at all"
    assert re.fullmatch(r"-8\d\.\d dBFS", reasons["toy_train_5.wav"])
    assert re.match(r"-5\d\.\d dBFS, \d\d dB above its quiet parts", reasons["toy_train_6.wav"])
    assert reasons["toy_train_8.wav"] == "samples stay near 0.25"
    assert reasons["toy_train_15.mp3"].startswith("same samples as train toy_train_16.mp3, with an")
    assert reasons["toy_train_18.mp3"] == "same samples as train toy_train_17.mp3"
    assert reasons["toy_train_19.mp3"] == "same samples as test toy_test_0.mp3"
    assert "output frames needed of" in reasons["toy_train_12.mp3"]


def test_what_splits_share_and_repeat(broken):
    _, _, report, _ = broken
    assert report.shared.speakers == [Overlap(("train", "test"), 1, ["speaker0-test"])]
    shared = {overlap.splits: overlap.n for overlap in report.shared.sentences}
    assert shared == {("train", "dev"): 1, ("train", "test"): 1}
    assert report.repeated_sentences["train"].sentences == 2
    assert report.repeated_sentences["train"].clips == 4


@pytest.mark.parametrize(
    ("lang", "a", "b", "same"),
    [
        ("ar", "كَتَبَ رِسالةً", "كتب رسالة.", True),
        ("tr", "IŞIK İLE", "ışık ile", True),
        ("zh", "你好， 世界", "你好世界。", True),
        ("vi", "ba má", "ba ma", False),  # two words, and scored as two
        ("fr", "été", "Ete !", False),
    ],
)
def test_sentences_are_the_same_as_the_language_is_scored(lang, a, b, same):
    charmap, _ = CharMap.from_transcripts([a, b], 1, LANGUAGES.get(lang, Writing(name=lang)))
    repeated, shared = repeated_sentences({"train": [a, b], "dev": [b]}, charmap)
    assert repeated["train"].sentences == same
    assert [overlap.n for overlap in shared] == [1]
    assert shared[0].examples == [a if same else b]


@pytest.mark.slow
def test_a_clip_with_harakat_and_its_copy_without_do_not_contradict_each_other(tmp_path):
    folder = make_toy_corpus(tmp_path / "data", (12, 4, 4), lang="ar")
    train = Rows(folder, "train")
    for i in range(len(train.rows)):
        train.set(i, "sentence", "اب تث جح " + "خدذرزسشصضطظع"[i])
    train.set(1, "sentence", train.get(0, "sentence").replace("ب", "بَ"))
    train.clip(1).write_bytes(train.clip(0).read_bytes())
    train.save()
    report, _ = check_corpus(configuration(tmp_path / "data", lang="ar", out=str(tmp_path / "o")))
    clips = report.faults["duplicate audio"].clips
    assert [c.reason for c in clips] == ["same samples as train toy_train_0.mp3"]
    assert report.repeated_sentences["train"].clips == 2


def test_the_alphabet_is_that_of_the_language():
    charmap, _ = CharMap.from_transcripts(["Işık İstanbul"], 1, LANGUAGES["tr"])
    found = alphabet({"train": ["Işık İstanbul"] * 5}, charmap, 5)
    assert found.counts == Counter({c: 5 * n for c, n in Counter("ışık istanbul").items()})
    assert found.rare == found.lost == {}
    charmap, _ = CharMap.from_transcripts(["كتاب ي"], 1, LANGUAGES["fa"])
    assert set(alphabet({"train": ["كتاب ي"]}, charmap, 1).counts) == set("کتاب ی")


def test_the_alphabet_and_its_forms(broken):
    _, _, report, _ = broken
    alphabet, forms = report.alphabet, report.unicode
    assert {c: use.count for c, use in alphabet.lost.items()} == {"☃": 1}
    assert alphabet.lost["☃"].name == "SNOWMAN"
    assert "☃" in alphabet.lost["☃"].first
    assert {c: f.written for c, f in alphabet.folded.items()} == {"é": "e", "’": "'"}
    assert alphabet.counts["é"] == 2  # both forms are one letter
    assert set(alphabet.rare) == {"é", "☃", "’", "'"}
    assert (forms.sentences_other, forms.sentences_nfc, forms.mixed) == (1, 1, True)
    assert forms.variants == {"apostrophe": {"'": 1, "’": 1}}


def test_figures_of_the_splits(broken):
    _, faults, report, _ = broken
    kinds = Counter(kind for (split, _), kind in faults.items() if split == "train")
    kept = kinds["near-silent"] + kinds["clipped"] + kinds["implausible rate"]
    train = report.splits["train"]
    assert (train.clips, train.bad_rows, train.speakers) == (39, 1, 4)
    assert train.usable == 39 - (kinds.total() - kinds["bad row"] - kept)
    assert train.broken == kinds.total() - kinds["duplicate audio"] - kept
    assert report.verdict.can_train


def test_the_list_holds_the_clips_of_train_and_dev_and_comments_those_to_listen_to(broken):
    root, faults, _, out = broken
    listed = read_excluded(out / "exclude.txt")
    kept = {"near-silent", "clipped", "implausible rate", "bad row"}
    wanted = {c for (split, c), kind in faults.items() if split != "test" and kind not in kept}
    assert set(listed) == wanted
    assert listed["toy_train_4.wav"] == "silent: no sound at all"
    assert "#toy_train_7.wav\t# clipped: " in (out / "exclude.txt").read_text(encoding="utf-8")


def test_the_json_is_the_report(broken):
    _, _, report, out = broken
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == report.to_dict()


class Page(HTMLParser):
    """Collects tags, attributes and text; fails on a tag that is not closed in order."""

    ALONE = {"meta", "line", "circle", "path"}  # path and circle may hold a title, too

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = Counter(), [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += attributes
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_loads_nothing(broken):
    _, faults, report, out = broken
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags["svg"] == 4
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "srcset"} & {name for name, _ in page.attributes}
    assert "http" not in text and "url(" not in text and "@import" not in text
    for _, clip in faults:
        assert clip in page.text
    assert "☃" in page.text and report.corpus in page.text


def test_markup_in_a_transcript_is_text(toy_folder, tmp_path):
    rows = Rows(toy_folder, "train")
    rows.set(0, "sentence", "<script>alert(1)</script> ☃ & <b>")
    rows.save()
    root = toy_folder.parents[1]
    check_corpus(configuration(root, out=str(tmp_path / "out")))
    page = Page((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    assert page.tags["script"] == page.tags["b"] - page.tags["summary"] - 1 == 0
    assert "<script>alert(1)</script> ☃ & <b>" in page.text


def test_the_screen_names_the_first_of_each_kind(broken):
    _, faults, report, _ = broken
    text = as_text(report)
    for kind in set(faults.values()):
        assert re.search(rf"^  {kind} +\d+  ", text, re.MULTILINE)
    assert "train and test share 1 speaker:\n    speaker0-test" in text
    assert "one apostrophe, written in 2 ways: ' 1, ’ 1" in text
    assert "can be trained on: " in text


# ------------------------------------------------------------------------- what train makes of it


@pytest.mark.slow
def test_train_goes_to_the_end_and_names_each_unusable_clip_once(broken, tmp_path):
    root, faults, _, _ = broken
    words = f"train {SMALL} --num_epochs 2 --min_duration 0 --logname run --datasetroot"
    finished = call(words, root, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    named = Counter(re.findall(r"^excluded: ([^:]+): ", finished.stderr, re.MULTILINE))
    refused = {"missing", "unreadable", "truncated", "too short", "too long", "empty transcript"}
    wanted = {c for (split, c), kind in faults.items() if kind in refused | {"bad row"}}
    assert named == Counter({"toy_train_4.wav": 1, **dict.fromkeys(wanted, 1)})
    assert (tmp_path / "logs/run/best_model.pt").exists()


@pytest.mark.slow
def test_train_leaves_out_the_listed_clips_and_names_the_unknown(broken, tmp_path):
    root, faults, _, out = broken
    listed = read_excluded(out / "exclude.txt")
    lines = (out / "exclude.txt").read_text(encoding="utf-8") + "toy_train_30.mp3\nnowhere.mp3\n"
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8")
    words = f"train {SMALL} --num_epochs 1 --min_duration 0 --exclude list.txt --datasetroot"
    finished = call(words, root, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    named = Counter(re.findall(r"^excluded: ([^:]+): ", finished.stderr, re.MULTILINE))
    assert named == Counter([*listed, "toy_train_30.mp3", "train.tsv line 31"])
    assert f"--exclude list.txt: {len(listed) + 1} clips excluded" in finished.stderr
    assert "--exclude list.txt: 1 clip is in neither split: nowhere.mp3" in finished.stderr
    assert "toy_train_30.mp3: listed by --exclude (no reason given)" in finished.stderr


def test_a_list_is_read_with_and_without_reasons(tmp_path, toy_root):
    file = tmp_path / "list.txt"
    file.write_text(
        "# a comment\n\na b.mp3\t# silent: no # sound\nb.mp3 # short\r\nc.mp3\n#d.mp3\n"
        "song #1.mp3\t# silent\n./#2.mp3\t# short\n./e.mp3\n"
    )
    assert read_excluded(file) == {
        "a b.mp3": "silent: no # sound",
        "b.mp3": "short",
        "c.mp3": "",
        "song #1.mp3": "silent",
        "#2.mp3": "short",
        "./e.mp3": "",
    }
    corpus = load_split(toy_root / "toy-1.0/fr", "dev")
    assert exclude_listed(corpus, {}) is corpus
    with pytest.raises(UserError, match="--exclude lists every clip"):
        exclude_listed(corpus, {corpus.path(i): "" for i in range(len(corpus))})
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        read_excluded(tmp_path / "nowhere")


# ----------------------------------------------------------------------------------- exit statuses


@pytest.mark.slow
def test_exit_statuses_and_files(toy_folder, tmp_path):
    words = f"check --min_duration 0 --nthreads 2 --datasetroot {toy_folder.parents[1]}"
    fine = call(words, cwd=tmp_path)
    assert fine.returncode == 0, fine.stderr
    assert "can be trained on: 24 of 24 training clips are good" in fine.stdout
    files = [f"check-toy-1.0-fr/{name}" for name in ("report.html", "report.json", "exclude.txt")]
    assert fine.stdout.splitlines()[-1] == f"written: {', '.join(files)}"
    assert all((tmp_path / file).is_file() for file in files)

    (toy_folder / "dev.tsv").unlink()
    no_dev = call(words, cwd=tmp_path)
    assert no_dev.returncode == 1
    assert "cannot be trained on:\n  dev cannot be read: no such split: " in no_dev.stdout


def test_wrong_use_is_refused_before_any_clip_is_read(toy_root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        corpus_check, "scan", lambda *args, **options: pytest.fail("clips are decoded")
    )
    file = tmp_path / "file"
    file.write_text("in the way")
    words = ["check", "--datasetroot", str(toy_root)]
    for more, said in [
        (["--out", str(file)], f"--out {file}: cannot be written ({file} is a file where a"),
        (["--charset", "nowhere.json", "--out", str(tmp_path)], "--charset nowhere.json: cannot"),
        (["--modelpath", "no.pt", "--out", str(tmp_path)], "no model file at no.pt"),
        (["--silent_dbfs", "-30"], "--silent_dbfs is greater than --near_silent_dbfs"),
        (["--lang", "xx"], "no version below"),
    ]:
        assert cli.main([*words, *more]) == 2
        assert said in capsys.readouterr().err


def verdict(folder: Path, out: Path, **flags) -> list[str]:
    report, _ = check_corpus(configuration(folder.parents[1], out=str(out), **flags))
    assert report.verdict.can_train == (not report.verdict.problems)
    assert as_text(report) and json.loads((out / "report.json").read_text()) == report.to_dict()
    return report.verdict.problems


def test_training_is_impossible_without_a_clip_within_the_bounds(toy_folder, tmp_path):
    train, dev = verdict(toy_folder, tmp_path, min_duration=10, max_duration=20)
    assert re.match(
        r"train: no usable clip lasts 10 to 20 s .*they last 0\.\d+ to \d\.\d+ s", train
    )
    assert dev.startswith("dev: no usable clip lasts 10 to 20 s")


def test_training_is_impossible_when_most_clips_are_missing(toy_folder, tmp_path):
    for i in range(13):
        (toy_folder / f"clips/toy_train_{i}.mp3").unlink()
    assert verdict(toy_folder, tmp_path) == ["train: 13 of 24 clips are broken"]


def test_training_is_impossible_with_a_map_of_another_script(toy_folder, tmp_path):
    rows = Rows(toy_folder, "train")
    for i in range(24):
        rows.set(i, "sentence", "გამარჯობა")
    rows.save()
    problems = verdict(toy_folder, tmp_path, charset="default")
    assert len(problems) == 1
    assert re.match(r"--charset default has no class for \d\d % of the characters", problems[0])
    assert verdict(toy_folder, tmp_path, charset="auto") == []
    assert verdict(toy_folder, tmp_path) == []  # the script is noticed


@pytest.mark.slow
def test_a_split_without_speech_cannot_be_trained_on(toy_folder, tmp_path):
    noise = np.random.default_rng(0)
    for clip in sorted(toy_folder.glob("clips/toy_train_*")):
        soundfile.write(clip, 0.05 * noise.standard_normal(32_000), 16_000)
    where = configuration(toy_folder.parents[1], out=str(tmp_path))
    report, _ = check_corpus(where)
    said = "train: all 24 clips are silent or nearly constant"
    assert report.verdict == Verdict(can_train=False, problems=[said])
    assert "can be trained on: " not in as_text(report).replace("cannot be trained on:", "")
    some, _ = check_corpus(where.replace(check_clips=3))  # the others may be speech, or not
    assert some.verdict.problems == ["train: all 3 clips are silent or nearly constant"]
    soundfile.write(clip, speak("Abc de.", noise), RATE_HZ)
    assert verdict(toy_folder, tmp_path) == []


def test_nothing_is_said_of_what_could_not_be_looked_at(toy_folder, tmp_path):
    """Whether splits share speakers or sentences is known of those with speakers, or read, only."""
    rows = Rows(toy_folder, "dev")
    for i in range(6):
        rows.set(i, "client_id", "")
    rows.save()
    root = configuration(toy_folder.parents[1], out=str(tmp_path))

    def said() -> str:
        report, _ = check_corpus(root)
        page = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
        text = as_text(report)
        for line in [line for line in text.splitlines() if "share" in line]:
            assert line[1:] in page
        return text

    text = said()
    assert "train and test share no speakers (dev names no speaker)\n" in text
    assert "no sentences are shared between splits\n" in text
    (toy_folder / "test.tsv").write_text("")
    text = said()
    both = "test cannot be read, dev names no speaker"
    assert f"whether splits share speakers cannot be told: {both}\n" in text
    assert "train and dev share no sentences (test cannot be read)\n" in text
    for split in "train", "dev":
        (toy_folder / f"{split}.tsv").unlink()
    text = said()
    assert "no speakers are shared" not in text and "no sentences are shared" not in text
    assert "has a class for every character" not in text


def test_a_folder_with_nothing_but_a_corpus_name(tmp_path):
    (tmp_path / "v1/fr/clips").mkdir(parents=True)
    problems = verdict(tmp_path / "v1/fr", tmp_path / "out", lang="fr")
    assert [problem.split(":")[0] for problem in problems] == [
        "train cannot be read",
        "dev cannot be read",
    ]


def test_a_corpus_in_another_layout(toy_folder, tmp_path):
    for split in ("train", "dev"):
        rows = Rows(toy_folder, split)
        lines = ["path,sentence", *(f"clips/{row[1]},{row[3]}" for row in rows.rows)]
        rows.file.unlink()
        (toy_folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows.clip(2).unlink()
    (toy_folder / "test.tsv").unlink()
    report, _ = check_corpus(configuration(toy_folder, out=str(tmp_path), corpus="manifest"))
    assert report.corpus == "fr" and report.verdict.can_train
    assert report.splits["train"].speakers == 0 and report.shared.speakers == []
    assert accused(report) == [(("dev", "clips/toy_dev_2.mp3"), "missing")]
    command = report.suggestions.command
    assert "train --corpus manifest --datasetroot" in command and "--lang" not in command


def test_a_clip_that_is_listed_twice_is_not_on_the_list(toy_folder, tmp_path):
    """Excluding it would take the first row, too."""
    rows = Rows(toy_folder, "train")
    for column in ("path", "sentence"):
        rows.set(5, column, rows.get(2, column))
    rows.save()
    report, _ = check_corpus(configuration(toy_folder.parents[1], out=str(tmp_path)))
    assert accused(report) == [(("train", "toy_train_2.mp3"), "listed twice")]
    assert "toy_train_2.mp3" not in (tmp_path / "exclude.txt").read_text(encoding="utf-8")


def test_a_sample_is_decoded_when_asked_for(toy_folder, tmp_path):
    (toy_folder / "clips/toy_train_3.mp3").unlink()
    report, _ = check_corpus(configuration(toy_folder.parents[1], out=str(tmp_path), check_clips=5))
    assert report.splits["train"].decoded == 5
    assert report.splits["train"].clips == 24
    assert "5 of them decoded (--check_clips)" in as_text(report)
    assert "5 of 24 clips decoded" in (tmp_path / "report.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------ small parts


def tone(seconds: float, rms_dbfs: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (math.sqrt(2) * 10 ** (rms_dbfs / 20) * np.sin(2000 * np.pi * time)).astype(np.float32)


def test_the_level_is_that_of_the_loudest_stretch():
    silence = np.zeros(10 * RATE_HZ, np.float32)
    word = np.concatenate([silence, tone(0.4, -30), silence])
    assert measure(word).level_dbfs == pytest.approx(-30, abs=0.1)  # pauses do not count
    assert measure(word).sound_s == pytest.approx(0.4, abs=0.02)
    assert measure(word + 0.2).level_dbfs == pytest.approx(-30, abs=0.1)  # nor does an offset
    click = silence.copy()
    click[50_000:50_200] = 0.9
    assert measure(click).level_dbfs < -80  # nor does a click
    assert measure(tone(1, -3)).clipped_share == pytest.approx(2 / 16, abs=0.001)
    assert measure(tone(1, -4)).clipped_share == 0
    assert measure(tone(1, -20)).variation_db < 0.1


@pytest.mark.parametrize("n_samples", [1, 159, 160, 161, 4799, 4801])
def test_short_clips_can_be_measured(n_samples):
    sound = measure(tone(1, -20)[:n_samples] + np.float32(0.01))
    assert sound.n_samples == n_samples
    assert all(math.isfinite(value) for value in sound)


def test_samples_that_are_the_same_have_the_same_digest():
    assert measure(tone(1, -20)).digest == measure(tone(1, -20)).digest
    assert measure(tone(1, -20)).digest != measure(tone(1, -20.001)).digest


@pytest.mark.parametrize(
    "n_clips, longest_s, size",
    [(10, 5, 4), (3_917, 11, 16), (2_000, 8, 8), (700_000, 10, 128), (700_000, 30, 32)],
)
def test_the_suggested_batch_leaves_steps_and_memory(n_clips, longest_s, size):
    assert suggested_batch_size(n_clips, longest_s) == size


@pytest.mark.parametrize(
    "low, high, log, ticks",
    [
        (0, 10.5, False, [0, 2, 4, 6, 8, 10]),
        (0, 330, False, [0, 100, 200, 300]),
        (0.8, 45, True, [1, 2, 5, 10, 20]),
        (0.7, 50_000, True, [1, 10, 100, 1000, 10_000]),
    ],
)
def test_ticks_are_round(low, high, log, ticks):
    assert Axis(low, high, 0, 100, log).ticks() == pytest.approx(ticks)


def test_a_mark_typed_in_one_way_has_no_variants():
    assert unicode_forms({"train": ["l'eau", "d'or - «oui»"]}).variants == {}
    forms = unicode_forms({"train": ["a…", "b...", "c\u00a0d e", "f\u200bg"]})
    assert forms.variants == {
        "space": {" ": 1, "\u00a0": 1},
        "ellipsis": {"...": 1, "…": 1},
    }
    assert forms.invisible == {"U+200B": 1}


# ------------------------------------------------------------------------------ French Common Voice

SILENT = """
39623152 39623166 39623175 39623176 39623205 39623207 39623245 39623252 39623256 39623263
39623287 39623300 39623388 40130594 40130624 40130650""".split()
NEAR_SILENT = ["39750989", "39759370"]  # their speech is clear, only faint
QUIET_BUT_GOOD = """39750987 39739076 39750994 39750985 39595358 39869730 40062765 39631120 39939443
39597216 39757350 39714859 39604315 39604313 39943741 39736743""".split()


@pytest.mark.slow
def test_the_silent_clips_of_french_common_voice_are_found_and_no_good_one(tmp_path):
    french = corpus_folder("cv-corpus-17.0-delta-2024-03-15", "fr")
    folder = tmp_path / "cv/fr"
    folder.mkdir(parents=True)
    (folder / "clips").symlink_to(french / "clips")
    looked_at = {f"common_voice_fr_{n}.mp3" for n in SILENT + NEAR_SILENT + QUIET_BUT_GOOD}
    header, *lines = (french / "validated.tsv").read_text(encoding="utf-8").splitlines()
    chosen = [line for line in lines if line.split("\t")[1] in looked_at]
    assert len(chosen) == len(looked_at)
    others = [line for line in lines if line not in chosen][::20]
    (folder / "train.tsv").write_text("\n".join([header, *chosen, *others]) + "\n")
    dev = (french / "dev.tsv").read_text(encoding="utf-8").splitlines()[:40]
    (folder / "dev.tsv").write_text("\n".join(dev) + "\n")
    report, _ = check_corpus(
        configuration(tmp_path, out=str(tmp_path / "out"), max_duration=11, min_duration=1)
    )
    found = {
        kind: {clip.clip[16:-4] for clip in group.clips if clip.split == "train"}
        for kind, group in report.faults.items()
        if kind not in ("implausible rate", "duplicate audio", "clipped")
    }
    assert found == {"silent": set(SILENT), "near-silent": set(NEAR_SILENT)}
    n_others = sum(group.n_clips for kind, group in report.faults.items() if "silent" not in kind)
    assert n_others <= 3
    assert report.verdict.can_train
    assert {f"common_voice_fr_{n}.mp3" for n in SILENT} <= set(
        read_excluded(tmp_path / "out/exclude.txt")
    )


@pytest.mark.slow
def test_splits_that_share_all_clips_can_be_trained_on(tmp_path):
    """As `train` with the same flags finds; that the model would learn nothing is said."""
    make_toy_corpus(tmp_path / "data", (6, 6, 6))
    folder = tmp_path / "data" / "toy-1.0" / "fr"
    for split in "dev", "test":
        (folder / f"{split}.tsv").write_bytes((folder / "train.tsv").read_bytes())
    words = f"--datasetroot {tmp_path / 'data'} --min_duration 0.5 --max_duration 20"
    checked = call(f"check {words} --nthreads 0 --out out", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "every train clip of these lengths is better excluded" in checked.stdout
    assert "no usable clip" not in checked.stdout
    trained = call(f"train {words} {SMALL} --num_epochs 1", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    # with lengths that no clip has, neither
    words = words.replace("--max_duration 20", "--max_duration 0.6")
    checked = call(f"check {words} --nthreads 0 --out out", cwd=tmp_path)
    trained = call(f"train {words} {SMALL} --num_epochs 1", cwd=tmp_path)
    assert (checked.returncode, trained.returncode) == (1, 2)
    said = re.search(
        r"no usable clip lasts 0.5 to 0.6 s .* they last (.*) to (.*) s", checked.stdout
    )
    assert float(said[1]) > 0.6 and f"they last {said[1]} to {said[2]} s" in trained.stderr


@pytest.mark.slow
def test_transcripts_must_fit_the_audio_in_the_units_of_both_output_layers(few_root, tmp_path):
    """Few letters may be many phonemes: 97 is quatre-vingt-dix-sept."""
    pytest.importorskip("phonemizer")
    root = shutil.copytree(few_root, tmp_path / "root")
    rows = Rows(root / "toy-1.0" / "fr", "train")
    rows.set(0, "sentence", "97 97 97 97 97 97 97 97")
    rows.save()

    def too_long(units: str) -> list[tuple[str, str]]:
        flags = {"datasetroot": str(root), "units": units, "out": str(tmp_path / "check")}
        report, _ = check_corpus(make_config({}, {**flags, "lang": "fr", "nthreads": 0}))
        group = report.faults.get("too long")
        return [(clip.clip, clip.reason) for clip in group.clips] if group else []

    assert too_long("char") == []
    for units in ("phoneme", "char+phoneme"):
        ((clip, reason),) = too_long(units)
        assert clip == rows.get(0, "path")
        assert re.fullmatch(r"phonemes: \d+ output frames needed of \d+", reason)
