"""Which transcripts a model doubts; posteriors made by hand, and the command with a small model."""

import json
import math
import random
import re

import pytest
import torch

from asr_ctc.acoustic.model_file import save_model
from asr_ctc.check.scan import scan
from asr_ctc.check.suspects import LISTED_SHARE, Suspect, find_suspects, judge, rank, suspect_of
from asr_ctc.commands import main as cli
from asr_ctc.corpus.corpus import load_split
from asr_ctc.corpus.durations import with_durations
from asr_ctc.recognition.recognizer import Recognizer
from asr_ctc.text.charmap import CharMap
from tools.toy_corpus import sentences

CHARMAP = CharMap()


def heard(text: str, sure: float) -> torch.Tensor:
    """Log posteriors (T', V) of a clip in which a model hears ``text``, each label then a blank."""
    labels = [label for one in CHARMAP.encode(text) for label in (one, 0)]
    logp = torch.full((len(labels), 44), math.log((1 - sure) / 43))
    logp[range(len(labels)), labels] = math.log(sure)
    return logp


def test_a_transcript_that_is_heard_has_no_gap():
    suspect = suspect_of("a.mp3", "Élise dort.", heard("elise dort.", 0.8), CHARMAP)
    assert suspect == Suspect("a.mp3", "Élise dort.", "elise dort.", pytest.approx(0), 0)


def test_the_gap_is_the_log_likelihood_lost_per_character():
    """One letter of four (the marks included) is another: its frame costs log(0.8 / (0.2 / 43))."""
    suspect = suspect_of("a.mp3", "ab", heard("ac", 0.8), CHARMAP)
    assert suspect.gap == pytest.approx(math.log(0.8 * 43 / 0.2) / 4, abs=1e-4)
    assert (suspect.heard, suspect.cer) == ("ac", 0.5)


@pytest.mark.parametrize("sentence", ["", "!"])
def test_transcripts_without_a_word_are_left_out(sentence):
    assert suspect_of("a.mp3", sentence, heard("ab", 0.8), CHARMAP) is None


def test_a_transcript_too_long_for_its_audio_is_the_most_suspect_of_all():
    assert suspect_of("a.mp3", "ab" * 20, heard("ab", 0.8), CHARMAP).gap == math.inf


@pytest.mark.few(1)
@pytest.mark.parametrize("seed", range(3))
def test_swapped_transcripts_rise_to_the_top(seed):
    """3 % of 200 transcripts swapped, under a model that is unsure and gets letters wrong."""
    rng = random.Random(seed)
    said = sentences(200, rng)
    wrong = rng.sample(range(200), 6)
    written = list(said)
    for i, j in zip(wrong, wrong[1:] + wrong[:1], strict=True):
        written[i] = said[j]
    suspects = []
    for i, (spoken, text) in enumerate(zip(said, written, strict=True)):
        misheard = "".join(rng.choice("abcdefgh") if rng.random() < 0.1 else c for c in spoken)
        logp = heard(misheard, rng.uniform(0.3, 0.9))
        suspects.append(suspect_of(str(i), text, logp.repeat_interleave(3, 0), CHARMAP))
    top = {suspect.clip for suspect in rank(suspects)[:12]}
    assert len(top & set(map(str, wrong))) >= 0.9 * len(wrong)


def test_both_measures_count_in_the_ranking():
    suspects = [Suspect(name, "", "", gap, cer) for name, gap, cer in [
        ("fine", 0.0, 0.0), ("both", 2.0, 0.9), ("heard well", 3.0, 0.1), ("unlucky", 0.5, 0.8)
    ]]  # fmt: skip
    assert [s.clip for s in rank(suspects)] == ["both", "heard well", "unlucky", "fine"]
    assert rank([]) == []


def test_every_clip_of_a_split_is_judged_but_the_broken(toy_folder, tiny_model):
    (toy_folder / "clips" / "toy_dev_1.mp3").write_bytes(b"broken")
    corpus = with_durations(load_split(toy_folder, "dev"), 0, keep_broken=True)
    recognizer = Recognizer(tiny_model, "cpu")
    split = scan(corpus, 1)
    suspects = judge(recognizer, split, n_threads=0)
    assert sorted(s.clip for s in suspects) == [f"toy_dev_{i}.mp3" for i in (0, 2, 3, 4, 5)]
    by_clip = {corpus.path(i): corpus.sentence(i) for i in range(len(corpus))}
    assert all(s.sentence == by_clip[s.clip] and s.gap > 0 for s in suspects)
    found = find_suspects(recognizer, {"dev": split}, 0)["dev"]
    assert found.n_ranked == 5 and len(found.clips) == math.ceil(LISTED_SHARE * 5) == 1
    assert found.clips[0].clip == rank(suspects)[0].clip


def test_check_shows_them_on_the_screen_in_the_report_and_on_the_page(
    toy_root, tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "m.pt", tiny_model)
    words = f"check --datasetroot {toy_root} --nthreads 0 --out r --device cpu"
    assert cli.main([*words.split(), "--modelpath", "m.pt"]) == 0
    screen = capsys.readouterr().out
    found = json.loads((tmp_path / "r" / "report.json").read_text())["suspects"]
    assert found["model"] == "m.pt"
    assert {name: split["ranked"] for name, split in found["splits"].items()} == {
        "train": 24,
        "dev": 6,
        "test": 6,
    }
    worst = found["splits"]["train"]["clips"][0]
    assert "transcripts that m.pt doubts most" in screen
    assert "train: 2 clips of 24 in report.json, the worst first" in screen
    for said in (worst["clip"], worst["sentence"]):
        assert said in screen and said in (tmp_path / "r" / "report.html").read_text()
    assert cli.main(words.split()) == 0
    assert "doubt" not in capsys.readouterr().out
    assert "suspects" not in json.loads((tmp_path / "r" / "report.json").read_text())


@pytest.mark.slow
def test_a_transcript_too_long_for_its_audio_is_said_to_be_so_wherever_it_is_shown(
    toy_folder, tiny_model, tmp_path, capsys
):
    table = toy_folder / "dev.tsv"
    lines = table.read_text().split("\n")
    lines[1] = lines[1].replace(lines[1].split("\t")[3], "ab" * 300)
    table.write_text("\n".join(lines))
    save_model(tmp_path / "m.pt", tiny_model)
    words = f"check --datasetroot {toy_folder.parents[1]} --nthreads 0 --device cpu"
    cli.main([*words.split(), "--out", str(tmp_path), "--modelpath", str(tmp_path / "m.pt")])
    assert re.search(r"toy_dev_0\.mp3  CER \d+%, too long\n", capsys.readouterr().out)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["suspects"]["splits"]["dev"]["clips"][0]["gap"] is None
    assert "<td>too long</td>" in (tmp_path / "report.html").read_text()
