"""Prefix beam search, compiled: finds what ``decoding.reference_beam_decode`` finds, but fast.

Three things make it so. Prefixes are nodes of a tree in flat arrays. The beam and the classes of a
frame are both held best first, so that a prefix is extended only until an extension could not
enter the beam: by far most of beam × classes candidates are never looked at. And exp and log are
taken only where paths of one prefix meet.

A language model is fused by adding its share to the score by which prefixes are ranked (shallow
fusion; Gulcehre et al. 2015, "On using monolingual corpora in neural machine translation"). It
depends on the labels alone, so each node of the tree keeps its own. Growing a word can only lower
the best that it may still become, hence extensions can still be given up early.
"""

import math

import numba
import numpy as np

from asr_ctc.base.compiled import compiled
from asr_ctc.decoding import fusion as fusing
from asr_ctc.decoding.fusion import CHARACTERS, NOBODY, PLAIN, WORDS, no_fusion
from asr_ctc.lm import ngrams, scoring
from asr_ctc.lm import spelling as vocabulary
from asr_ctc.lm.kenlm_binary import ask, begin
from asr_ctc.lm.ngrams import EOS, UNK
from asr_ctc.lm.scoring import NO_CHILD, find_child, score
from asr_ctc.lm.spelling import NO_WORD

SIGNATURE = numba.types.Tuple((*(numba.int64[::1],) * 2, *(numba.float64[::1],) * 2))(
    numba.types.Array(numba.float64, 2, "C", readonly=True),
    *(numba.int64, numba.int64, numba.int64, numba.int64, numba.float64),
    numba.typeof(no_fusion(2)),
)
NEGLIGIBLE = 38.0  # exp(-38) adds nothing to 1 in float64

# Columns of the prefix tree (nodes, 8) int32. ROW: where in the beam the prefix is. For the
# language model, SPELT: its last word so far, as a node of the vocabulary's trie; STATE: the words
# before that; END_STATE: those and the last word.
PARENT, LABEL, FIRST_CHILD, NEXT_SIBLING, ROW, SPELT, STATE, END_STATE = range(8)
ROOT, TRIE_ROOT, NONE = 0, 0, NO_CHILD

# Columns of ``worth`` (nodes, 3) float64, what the language model adds to a prefix. SURE: for the
# words that have ended; NOW: and at most for the last one, as it may go on; ENDED: and for the last
# one if it ends here, NaN until somebody asks.
SURE, NOW, ENDED = range(3)


@numba.njit
def _logaddexp(a, b):
    if a < b:
        a, b = b, a
    return a if b <= a - NEGLIGIBLE else a + math.log1p(math.exp(b - a))


# A heap of candidates has the worst at its root. A candidate is a score and a code; of equal
# scores the lower code is better.


@numba.njit
def _worse(score, code, other_score, other_code):
    return score < other_score or (score == other_score and code > other_code)


@numba.njit
def _sift_down(scores, codes, n, score, code, place):
    """Puts a candidate at ``place`` or below, where it belongs, in a heap of ``n``."""
    child = 2 * place + 1
    while child < n:
        if child + 1 < n and _worse(
            scores[child + 1], codes[child + 1], scores[child], codes[child]
        ):
            child += 1
        if not _worse(scores[child], codes[child], score, code):
            break
        scores[place], codes[place] = scores[child], codes[child]
        place, child = child, 2 * child + 1
    scores[place], codes[place] = score, code


@numba.njit
def _heapify(scores, codes, n):
    for place in range(n // 2 - 1, -1, -1):
        _sift_down(scores, codes, n, scores[place], codes[place], place)


@numba.njit
def _append(scores, codes, n, score, code):
    """Adds a candidate to a heap of ``n`` that has room."""
    place = n
    while place > 0 and _worse(score, code, scores[(place - 1) // 2], codes[(place - 1) // 2]):
        above = (place - 1) // 2
        scores[place], codes[place] = scores[above], codes[above]
        place = above
    scores[place], codes[place] = score, code


@numba.njit
def _sort_best_first(scores, codes, n):
    """Sorts a heap of ``n``: the worst goes last, again and again."""
    for end in range(n - 1, 0, -1):
        score, code = scores[end], codes[end]
        scores[end], codes[end] = scores[0], codes[0]
        _sift_down(scores, codes, end, score, code, 0)


@numba.njit
def _start(fusion):
    """The language model's state at the beginning of a sentence."""
    number = fusion.asked
    if number == NOBODY:
        return fusion.start
    with numba.objmode(state="int64"):
        state = begin(number)
    return state


@numba.njit
def _logp(fusion, state, word):
    """(log probability of a word of the language model, the state after it)."""
    number = fusion.asked
    if number == NOBODY:
        return score(fusion.ngrams, state, word)
    with numba.objmode(logp="float64", after="int32"):
        logp, after = ask(number, state, word)
    return logp, after


@numba.njit
def _end_word(fusion, tree, worth, node):
    """What the language model adds to a prefix when its last word ends there; found out once."""
    if fusion.kind != WORDS or tree[node, SPELT] == TRIE_ROOT:
        worth[node, ENDED], tree[node, END_STATE] = worth[node, SURE], tree[node, STATE]
    elif math.isnan(worth[node, ENDED]):
        spelt = tree[node, SPELT]
        entry = fusion.trie.word[spelt] if spelt != NONE else NO_WORD
        word = fusion.entry_word[entry] if entry != NO_WORD else UNK
        logp, tree[node, END_STATE] = _logp(fusion, tree[node, STATE], word)
        added = fusion.unknown
        if word != UNK:
            added = fusion.lm_weight * logp + fusion.entry_bonus[entry]
        elif entry != NO_WORD:
            added = fusion.entry_value[entry]
        worth[node, ENDED] = worth[node, SURE] + added
    return worth[node, ENDED]


@numba.njit
def _grow(fusion, tree, worth, node, label):
    """(SURE, NOW, SPELT, STATE) of a prefix followed by ``label``."""
    sure, spelt, state = worth[node, SURE], tree[node, SPELT], tree[node, STATE]
    if fusion.kind == CHARACTERS:
        word = fusion.class_word[label]
        if word != NO_WORD:
            logp, state = _logp(fusion, state, word)
            sure += fusion.unknown if word == UNK else fusion.lm_weight * logp + fusion.word_bonus
        return sure, sure, spelt, state
    if fusion.ends_word[label]:
        ended = _end_word(fusion, tree, worth, node)
        return ended, ended, np.int32(TRIE_ROOT), tree[node, END_STATE]
    if spelt != NONE:  # a word begins so
        spelt = np.int32(find_child(fusion.trie.children, fusion.trie.label, spelt, label))
    return sure, sure + (fusion.unknown if spelt == NONE else fusion.look[spelt]), spelt, state


@numba.njit
def _child(tree, n_nodes, node, label):
    """The node of ``node`` followed by ``label``; ``n_nodes``, made here, when it is new.

    A prefix that left the beam and is reached again gets its old node: its children may have
    outlived it, and a second node would let the same labels stand in the beam twice.
    """
    child = tree[node, FIRST_CHILD]
    while child >= 0:
        if tree[child, LABEL] == label:
            return child
        child = tree[child, NEXT_SIBLING]
    tree[n_nodes, PARENT], tree[n_nodes, LABEL] = node, label
    tree[n_nodes, FIRST_CHILD] = tree[n_nodes, ROW] = NONE
    tree[n_nodes, NEXT_SIBLING] = tree[node, FIRST_CHILD]
    tree[node, FIRST_CHILD] = n_nodes
    return n_nodes


@numba.njit
def _value(fusion, tree, worth, node, parent):
    """Writes down what the language model makes of a new prefix."""
    sure, now, spelt, state = _grow(fusion, tree, worth, parent, tree[node, LABEL])
    worth[node, SURE], worth[node, NOW], worth[node, ENDED] = sure, now, np.nan
    tree[node, SPELT], tree[node, STATE] = spelt, state


@numba.njit
def _grown(array, n_used):
    """The array with room for as many rows again."""
    larger = np.empty((2 * len(array), array.shape[1]), array.dtype)
    larger[:n_used] = array[:n_used]
    return larger


@numba.njit
def _spell(tree, nodes):
    """The labels of the prefixes, one after the other, and where each of them ends."""
    ends = np.empty(len(nodes), np.int64)
    n_labels = 0
    for i, node in enumerate(nodes):
        while node != ROOT:
            n_labels += 1
            node = tree[node, PARENT]
        ends[i] = n_labels
    labels = np.empty(n_labels, np.int64)
    for i, node in enumerate(nodes):
        place = ends[i]
        while node != ROOT:
            place -= 1
            labels[place] = tree[node, LABEL]
            node = tree[node, PARENT]
    return labels, ends


@compiled(SIGNATURE, "the beam search", uses=(fusing, ngrams, scoring, vocabulary))
def search(frames, blank, width, n_best, n_tokens, threshold, fusion):
    """The ``n_best`` likeliest label sequences after ``frames`` (T', V) float64, best first.

    ``width`` prefixes go on after each frame, those of the highest score: the log probability
    plus what ``fusion`` adds. At most ``n_tokens`` classes extend a prefix, the frame's likeliest;
    a prefix whose score is ``threshold`` below the best leaves. Returns the labels of all sequences
    one after the other, where each of them ends in there, their natural log probabilities, and
    their scores; nothing when every path is impossible.
    """
    n_frames, n_classes = frames.shape

    tree, worth = np.empty((2 * width + 1, 8), np.int32), np.empty((2 * width + 1, 3))
    tree[ROOT], worth[ROOT] = NONE, 0.0
    tree[ROOT, LABEL] = blank  # the empty prefix ends in no label, so none repeats it
    tree[ROOT, ROW] = 0
    tree[ROOT, SPELT], tree[ROOT, STATE] = TRIE_ROOT, _start(fusion)
    n_nodes = 1

    # The beam, best first: log probability of a prefix's paths that end in blank, of those that
    # end in its last label, and of both. The next one is made in a second set of arrays.
    n = 1
    nodes, next_nodes = np.zeros(width, np.int32), np.empty(width, np.int32)
    p_blank, next_p_blank = np.zeros(width), np.empty(width)
    p_label, next_p_label = np.full(width, -np.inf), np.empty(width)
    total, next_total = np.zeros(width), np.empty(width)

    stay_blank, stay_label, stay_total = np.empty(width), np.empty(width), np.empty(width)
    scores, codes = np.empty(width), np.empty(width, np.int64)
    class_logps, classes = np.empty(n_classes), np.empty(n_classes, np.int64)
    most_in_word, most_at_end = np.empty(width), np.empty(width)
    first_child, next_sibling = np.empty(width, np.int32), np.empty(width, np.int32)  # in the beam
    merged_at = np.full(n_classes, NONE)  # the last row whose extension by the class is in the beam

    for t in range(n_frames):
        frame = frames[t]

        # Prefixes that stay. An extension that spells a prefix of the beam is added to it.
        first_child[:n] = NONE
        for row in range(n):
            label = tree[nodes[row], LABEL]
            stay_blank[row] = total[row] + frame[blank]
            stay_label[row] = p_label[row] + frame[label]
            parent = tree[nodes[row], PARENT]
            owner = tree[parent, ROW] if parent != NONE else NONE
            if owner != NONE:
                repeats = label == tree[parent, LABEL]
                grown = p_blank[owner] if repeats else total[owner]
                stay_label[row] = _logaddexp(stay_label[row], grown + frame[label])
                next_sibling[row] = first_child[owner]
                first_child[owner] = row
        n_kept = 0
        for row in range(n):
            stay_total[row] = _logaddexp(stay_blank[row], stay_label[row])
            if stay_total[row] > -np.inf:
                scores[n_kept] = stay_total[row] + worth[nodes[row], NOW]
                codes[n_kept] = row * n_classes + blank
                n_kept += 1
        _heapify(scores, codes, n_kept)

        # The most that an extension of a prefix may score, the class's log probability aside.
        most = -np.inf
        for row in range(n):
            node = nodes[row]
            gain = fusion.most_of_new_word if tree[node, SPELT] == TRIE_ROOT else 0.0
            most_in_word[row] = most_at_end[row] = total[row] + worth[node, NOW] + gain
            if fusion.kind == WORDS:
                ended = worth[node, SURE] + fusion.most_of_ended_word
                if not math.isnan(worth[node, ENDED]):
                    ended = worth[node, ENDED]
                most_at_end[row] = total[row] + ended
            most = max(most, most_in_word[row], most_at_end[row])

        # Classes that extend any prefix into the beam, best first.
        least = scores[0] if n_kept == width else -np.inf
        n_open = 0
        for label in range(n_classes):
            if label != blank and frame[label] > -np.inf and most + frame[label] >= least:
                class_logps[n_open], classes[n_open] = frame[label], label
                n_open += 1
        _heapify(class_logps, classes, n_open)
        _sort_best_first(class_logps, classes, n_open)
        n_open = min(n_open, n_tokens)

        # Extensions of each prefix, until those that follow could only be the worst of a full beam.
        merged_at[:] = NONE
        for row in range(n):
            node = nodes[row]
            last = tree[node, LABEL]
            most = max(most_in_word[row], most_at_end[row])
            child = first_child[row]
            while child != NONE:
                merged_at[tree[nodes[child], LABEL]] = row
                child = next_sibling[child]
            for label, logp in zip(classes[:n_open], class_logps[:n_open]):  # noqa: B905  (compiled: numba knows no strict)
                code = row * n_classes + label
                if n_kept == width:
                    if _worse(most + logp, code, scores[0], codes[0]):
                        break
                    bound = most_at_end[row] if fusion.ends_word[label] else most_in_word[row]
                    if _worse(bound + logp, code, scores[0], codes[0]):
                        continue
                if merged_at[label] == row:
                    continue
                here = (p_blank[row] if label == last else total[row]) + logp
                if fusion.kind != PLAIN:
                    here += _grow(fusion, tree, worth, node, label)[1]
                if n_kept < width:
                    if here > -np.inf:
                        _append(scores, codes, n_kept, here, code)
                        n_kept += 1
                elif _worse(scores[0], codes[0], here, code):
                    _sift_down(scores, codes, n_kept, here, code, 0)

        _sort_best_first(scores, codes, n_kept)
        while n_kept and scores[n_kept - 1] < scores[0] - threshold:
            n_kept -= 1

        if n_nodes + n_kept > len(tree):
            tree, worth = _grown(tree, n_nodes), _grown(worth, n_nodes)
        for row in range(n):
            tree[nodes[row], ROW] = NONE
        for place in range(n_kept):
            row, label = divmod(codes[place], n_classes)
            node = nodes[row]
            if label == blank:
                next_p_blank[place], next_p_label[place] = stay_blank[row], stay_label[row]
                next_total[place] = stay_total[row]
            else:
                repeats = label == tree[node, LABEL]
                grown = (p_blank if repeats else total)[row] + frame[label]
                next_p_blank[place], next_p_label[place] = -np.inf, grown
                next_total[place] = grown
                parent, node = node, _child(tree, n_nodes, node, label)
                if node == n_nodes:
                    n_nodes += 1
                    worth[node], tree[node, SPELT] = 0.0, TRIE_ROOT
                    if fusion.kind != PLAIN:
                        _value(fusion, tree, worth, node, parent)
            tree[node, ROW] = place
            next_nodes[place] = node
        n = n_kept
        nodes, next_nodes = next_nodes, nodes
        p_blank, next_p_blank = next_p_blank, p_blank
        p_label, next_p_label = next_p_label, p_label
        total, next_total = next_total, total

    n_kept = 0
    for row in range(n):
        ended = 0.0
        if fusion.kind != PLAIN:
            ended = _end_word(fusion, tree, worth, nodes[row])
            ended += fusion.lm_weight * _logp(fusion, tree[nodes[row], END_STATE], EOS)[0]
        if total[row] + ended > -np.inf:
            scores[n_kept], codes[n_kept] = total[row] + ended, row
            n_kept += 1
    _heapify(scores, codes, n_kept)
    _sort_best_first(scores, codes, n_kept)
    best = codes[: min(n_kept, n_best)]
    labels, ends = _spell(tree, nodes[best])
    return labels, ends, total[best], scores[: len(best)].copy()
