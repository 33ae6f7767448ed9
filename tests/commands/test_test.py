"""`main_ctc.py test`: transcripts of recordings, scores of a split."""

import json
import math
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from asr_ctc import Beam, Recognizer
from asr_ctc.acoustic.model_file import load_model
from asr_ctc.commands.test import speed_text
from tests.helpers.command import MAIN, call, environment
from tools.toy_corpus import RATE_HZ, make_toy_corpus, speak

pytestmark = pytest.mark.slow

MODEL = "logs/small/best_model.pt"

# --------------------------------------------------------------------------------- test --audiofile


def hypotheses(output: str) -> list[tuple[float, str]]:
    """The lines of one table; fails when the output is not one."""
    heading, *lines = output.splitlines()
    assert heading == "Log prob    Sequence"
    return [(float(line[:8]), line[12:]) for line in lines]


def test_test_takes_the_newest_model_and_prints_which(folder, tmp_path):
    for age_s, name in ((50, "b"), (10, "deeper/a"), (90, "c")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        copy = shutil.copy(folder / MODEL, tmp_path / "runs" / name)
        written_s = os.stat(folder / MODEL).st_mtime - age_s
        os.utime(copy, (written_s, written_s))
    clip = folder / "data/toy-1.0/fr/clips/toy_test_0.mp3"
    finished = call("--baselogdir runs --audiofile", clip, "test", cwd=tmp_path)
    assert finished.returncode == 0
    assert finished.stderr == "model runs/deeper/a/best_model.pt\n"
    assert len(hypotheses(finished.stdout)) == 1


@pytest.fixture(scope="module")
def marks_model(folder):
    """The model, moved so that it often writes the marks of start and end of sentence."""
    content = torch.load(folder / MODEL, weights_only=True)
    charmap = load_model(folder / MODEL).charmap
    bias = content["state_dict"]["charlin.0.bias"]
    bias[charmap.blankid] -= 2
    for symbol in (charmap.soschar, charmap.eoschar, "d", " "):
        bias[charmap.char2idx[symbol]] += 4
    torch.save(content, folder / "marks.pt")
    return "marks.pt"


def test_beam_search_lists_readings_best_first_without_sentence_marks(folder, marks_model):
    clip = "data/toy-1.0/fr/clips/toy_test_1.mp3"
    asr = Recognizer.load(folder / marks_model, "cpu")
    transcript = asr.transcribe(folder / clip, decoder=Beam(width=12, n_best=12))
    found = [transcript, *transcript.alternatives]
    assert any({16, 2} & set(hypothesis.labels) for hypothesis in found)  # marks were there

    words = f"test --modelpath {marks_model} --audiofile {clip} --beamsearch --beamwidth 12"
    finished = call(words, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    table = hypotheses(finished.stdout)
    scores = [logp for logp, _ in table]
    assert len(found) == 12 and scores == sorted(scores, reverse=True)
    assert not set("¬¶¦") & set(finished.stdout)
    likeliest = {}  # readings that differ in marks only are shown once
    for hypothesis in found:
        likeliest.setdefault(hypothesis.text, hypothesis.logp)
    assert [text.strip() for _, text in table] == list(likeliest)
    assert scores == pytest.approx(list(likeliest.values()), abs=0.02)


def test_beam_search_with_a_language_model(folder, marks_model):
    unigrams = ["-99 <s>", "-1 </s>", "-2 <unk>", "-0.1 d", "-30 abc"]
    (folder / "lm.arpa").write_text(
        "\\data\\\nngram 1=5\n\n\\1-grams:\n" + "\n".join(unigrams) + "\n\n\\end\\\n"
    )
    clip = "data/toy-1.0/fr/clips/toy_test_1.mp3"
    words = f"test --modelpath {marks_model} --audiofile {clip} --lm lm.arpa --lm_weight 2"
    finished = call(words + " --beamsearch --lexicon --n_best 5", cwd=folder)
    assert finished.returncode == 0, finished.stderr
    header, *rows = finished.stdout.splitlines()
    assert header == "   Score    Log prob    Sequence"
    scores, logps, said = zip(*(row.split(maxsplit=2) for row in rows), strict=True)
    assert list(scores) == sorted(scores, key=float, reverse=True)
    # Each d adds 2 · log 0.1^0.1, the sentence's end 2 · log 0.1; the lexicon has no other word.
    for score, logp, text in zip(scores, logps, said, strict=True):
        assert set(text.split()) == {"d"}
        added = 2 * math.log(10) * (-0.1 * len(text.split()) - 1)
        assert float(score) == pytest.approx(float(logp) + added, abs=0.02)

    refused = call(words, cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr == "error: --lm and --lm_weight need --beamsearch\n"


@pytest.mark.parametrize("value", ["-0.5", "nan"])
def test_what_is_no_penalty_on_the_blank_is_refused_in_one_line(folder, value):
    refused = call(f"test --split dev --beamsearch --blank_penalty {value}", cwd=folder)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("error: --blank_penalty must be ")


def test_several_files_of_any_format_rate_and_channel_count(folder, tmp_path):
    samples = speak("abc def", np.random.default_rng(0))
    files = {
        "mono.wav": (samples, RATE_HZ),
        "stereo.flac": (np.stack([samples, samples], axis=1), RATE_HZ),
        "six channels.wav": (np.stack([samples] * 6, axis=1), RATE_HZ),
        "high.mp3": (np.repeat(samples, 3), 48_000),
        "odd.ogg": (np.repeat(samples, 2), 31_991),
        "slow.wav": (samples, 7_919),
    }
    for name, (data, rate) in files.items():
        soundfile.write(tmp_path / name, data, rate)
    paths = [tmp_path / name for name in files]
    finished = call(f"--modelpath {folder / MODEL} --audiofile", *paths, "test", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[::3] == [str(path) for path in paths]
    assert lines[1::3] == ["Log prob    Sequence"] * len(files)
    heard = [hypotheses("\n".join(lines[at : at + 2]))[0] for at in range(1, len(lines), 3)]
    mono, stereo, six = heard[:3]  # channels that are equal change nothing
    assert mono[1] == stereo[1] == six[1]
    assert (stereo[0], six[0]) == pytest.approx((mono[0], mono[0]), abs=0.05)


def test_what_is_wrong_with_standard_input_is_told_of_standard_input(folder):
    words = [sys.executable, str(MAIN), "test", "--modelpath", MODEL, "--audiofile", "-"]
    empty = subprocess.run(
        words, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True
    )
    assert empty.returncode == 2
    assert empty.stderr.decode().endswith("error: standard input: is empty (0 bytes)\n")


@pytest.mark.parametrize(
    "speed, said",
    [(0.0312, "0.031"), (0.3, "0.3"), (0.96, "0.96"), (2.53, "2.5"), (9.96, "10"), (412.3, "412")],
)
def test_slow_decoding_is_not_told_as_none(speed, said):
    assert speed_text(speed) == said


def test_texts_of_several_recordings_bear_their_names(folder, tmp_path):
    samples = speak("abc def", np.random.default_rng(0))
    for name in ("-take.wav", "b.wav"):  # as a pattern of the shell gives them
        soundfile.write(tmp_path / name, samples, RATE_HZ)
    (tmp_path / "c.wav").write_bytes(b"no audio")
    words = "test --format text --modelpath", folder / MODEL, "--audiofile -take.wav b.wav c.wav"
    finished = call(*words, cwd=tmp_path)
    assert finished.returncode == 2
    names = [line.split(":")[0] for line in finished.stdout.splitlines()]
    assert names == ["-take.wav", "b.wav"]
    assert "error: c.wav: is not audio" in finished.stderr
    alone = call(*words[:2], "--audiofile b.wav", cwd=tmp_path)
    assert finished.stdout.splitlines()[1] == f"b.wav: {alone.stdout}".rstrip("\n")

    written = call(*words, "--out texts", cwd=tmp_path)
    assert (written.returncode, written.stdout) == (2, "")
    assert "written: 2 files in texts\n" in written.stderr
    assert (tmp_path / "texts" / "b.txt").read_text() == alone.stdout


# ------------------------------------------------------------------------------------- test --split


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A corpus whose six test clips last under 1 s (one), over 5 s (one) and between (four)."""
    root = tmp_path_factory.mktemp("uneven")
    clips = make_toy_corpus(root, (1, 1, 6)) / "clips"
    noise = np.random.default_rng(0)
    for i, sentence in enumerate(["a", "abcdefgh" * 5, *["abcd efgh"] * 4]):
        soundfile.write(clips / f"toy_test_{i}.mp3", speak(sentence, noise), RATE_HZ)
    return root


@pytest.mark.parametrize(
    "words, scored, method",
    [
        ("", "6 of 6", "greedy"),
        ("--config bounds.yaml", "6 of 6", "greedy"),  # bounds that were not typed are training's
        ("--min_duration 5", "1 of 6", "greedy"),  # and the default of the other is, too
        ("--min_duration 1 --max_duration 5 --beamsearch", "4 of 6", "beam search of 10"),
    ],
)
def test_scoring_takes_every_clip_unless_bounds_are_typed(folder, uneven, words, scored, method):
    (folder / "bounds.yaml").write_text("min_duration: 2\nmax_duration: 3\n")
    finished = call(f"test --nthreads 0 {words}", cwd=folder, COMMONVOICE_ROOT=str(uneven))
    assert finished.returncode == 0, finished.stderr
    first, rule, *rest = finished.stdout.splitlines()
    assert rule == "scored without case, accents and punctuation; writing fr"
    assert first.startswith(f"toy-1.0/fr test: {scored} clips scored, 0.0")
    assert first.endswith(f" h, {method}, on cpu")
    assert re.match(r"WER +\d+\.\d\d % [ (].{17} +\d+ words: \d+ substituted", rest[0])
    assert re.match(r"CER +\d+\.\d\d % [ (].{17} +\d+ characters: \d+ substituted", rest[1])


def test_scoring_takes_the_split_it_is_told_and_says_what_it_ignores(folder):
    finished = call("test --split dev --nmels 40 --nthreads 0", cwd=folder)
    assert finished.returncode == 0
    assert finished.stdout.startswith("toy-1.0/fr dev: 6 of 6 clips scored")
    assert "note: --nmels is ignored: the model file determines it" in finished.stderr


def test_scores_go_to_files_and_compare_reads_them(folder, tmp_path):
    outputs = [tmp_path / name for name in ("a.csv", "a.html", "a.jsonl")]
    flags = [word for path in outputs for word in (f"--{path.suffix[1:]}", path)]
    flags[4] = "--hypotheses"
    words = "test --split dev --nthreads 0 --json --by gender speaker"
    finished = call(words, *flags, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert (report["clips"], report["decoding"], list(report["slices"])) == (
        6,
        "greedy",
        ["gender", "speaker"],
    )
    assert [row["clips"] for row in report["slices"]["speaker"]] == [2, 2, 2]
    assert finished.stderr.endswith("written: " + ", ".join(map(str, outputs)) + "\n")
    table, page, hypotheses = (path.read_text(encoding="utf-8") for path in outputs)
    assert len(table.splitlines()) == 7 and "toy-1.0/fr dev" in page
    assert len(hypotheses.splitlines()) == 6
    compared = call("compare", outputs[2], outputs[2], cwd=folder)
    assert compared.returncode == 0, compared.stderr
    assert "6 clips in both\n" in compared.stdout
    assert compared.stdout.splitlines()[-1].startswith("No significant difference")


@pytest.mark.parametrize(
    "words, said",
    [
        ("--by shoes", "data/toy-1.0/fr/test.tsv: no column named 'shoes' (available: client_id"),
        ("--csv nosuch/a.csv", "cannot write nosuch/a.csv: there is no folder nosuch"),
        ("--csv data", "cannot write data: it is a folder"),
        ("--csv a --html a", "cannot write a: two of --csv, --html, --hypotheses name it"),
    ],
)
def test_scoring_refuses_what_it_cannot_tell_or_write(folder, words, said):
    finished = call(f"test --split test --nthreads 0 {words}", cwd=folder)
    assert finished.returncode == 2 and finished.stdout == ""
    assert f"error: {said}" in finished.stderr.splitlines()[-1]


def test_the_version_that_the_model_was_trained_on_is_scored_unless_another_is_asked_for(
    folder, tmp_path
):
    make_toy_corpus(tmp_path / "data", (2, 2, 3), version="toy-1.0", seed=1)
    make_toy_corpus(tmp_path / "data", (2, 2, 4), version="cv-corpus-9.0", seed=2)
    words = "test --split test --nthreads 0 --modelpath", folder / MODEL
    assert "toy-1.0/fr test: 3 of 3 clips" in call(*words, cwd=tmp_path).stdout
    other = call(*words, "--datasetversion v9.0", cwd=tmp_path)
    assert "cv-corpus-9.0/fr test: 4 of 4 clips" in other.stdout
    shutil.rmtree(tmp_path / "data" / "toy-1.0")
    assert "cv-corpus-9.0/fr test: 4 of 4 clips" in call(*words, cwd=tmp_path).stdout
