"""The files of small corpora, which tests write, and what is read of them."""

import csv
import json

import numpy as np
import soundfile


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def write_sound(file, duration_s=0.5):
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, int(duration_s * 16_000))
    soundfile.write(file, noise, 16_000)


def write_manifest(folder, ending, records, split="train"):
    """Records as they would be written by the tools people have."""
    file, names = folder / f"{split}.{ending}", list(records[0])
    if ending == "jsonl":
        return write(file, "".join(json.dumps(record) + "\n" for record in records))
    with open(file, "w", newline="", encoding="utf-8") as table:
        if ending == "csv":
            writer = csv.DictWriter(table, names)
            writer.writeheader()
            writer.writerows(records)
        else:
            for row in [names, *(record.values() for record in records)]:
                table.write("\t".join(map(str, row)) + "\n")
    return file


def rows_of(corpus):
    return [
        (corpus.path(i), corpus.sentence(i), corpus.speakers[corpus.rows[i]])
        for i in range(len(corpus))
    ]
