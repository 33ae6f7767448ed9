"""Prefix beam search, compiled: the results of ``beam_reference.reference_decode``, but fast.

Three things make it fast. Prefixes are nodes of a tree in flat arrays. The beam and the classes of
a frame are both sorted best first, so that a prefix is extended only until no further extension can
enter the beam: most of the beam × classes candidates are never visited. And exp and log are
computed only where paths of one prefix meet.

A language model is fused by adding its contribution to the score by which prefixes are ranked
(shallow fusion; Gulcehre et al. 2015, "On using monolingual corpora in neural machine
translation"). It depends on the labels only, so each node of the tree stores its own. The upper
bound on a word's contribution can only fall as the word grows, hence pruning extensions early stays
exact.

A frame passes through ``_stay``, ``_bound_extensions``, ``_open_classes``, ``_extend``, ``_rank``
and ``_advance``. Between two calls the state of the search is a ``BeamArrays``, which the next call
takes with more frames.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from asr_ctc.base.compiled import compiled, without_refcounts
from asr_ctc.decoding import fusion as fusing
from asr_ctc.decoding.fusion import CHARACTERS, PLAIN, WORDS, Fusion, no_fusion
from asr_ctc.lm import ngrams, scoring
from asr_ctc.lm import spelling as vocabulary
from asr_ctc.lm.ngrams import EOS, UNK
from asr_ctc.lm.scoring import NO_CHILD, find_child, score
from asr_ctc.lm.spelling import NO_WORD

NEGLIGIBLE = 38.0  # exp(-38) adds nothing to 1 in float64

# Columns of ``Tree.nodes``. ROW: the prefix's row in the beam. For the language model, SPELT: its
# last word so far, as a node of the vocabulary's trie; STATE: that of the words before; END_STATE:
# that of the words with the last one.
PARENT, LABEL, FIRST_CHILD, NEXT_SIBLING, ROW, SPELT, STATE, END_STATE = range(8)
ROOT, TRIE_ROOT, NONE = 0, 0, NO_CHILD

# Columns of ``Tree.lm_score``, the language model's contribution to a prefix. COMPLETED: of the
# words that have ended; BOUND: with the upper bound for the last word, however it goes on;
# IF_WORD_ENDS: with the last word, if it ends here; NaN until needed.
COMPLETED, BOUND, IF_WORD_ENDS = range(3)


class Tree(NamedTuple):
    """Prefixes as nodes of a tree, M nodes; the first is the empty prefix."""

    nodes: np.ndarray  # (M, 8) int32
    lm_score: np.ndarray  # (M, 3) float64


class Rows(NamedTuple):
    """The N prefixes of a beam, best first; log probabilities are natural."""

    node: np.ndarray  # (N,) int32: the prefix in the tree
    p_blank: np.ndarray  # (N,) float64: log probability of its paths that end in blank
    p_label: np.ndarray  # (N,) float64: of those that end in its last label
    total: np.ndarray  # (N,) float64: of both


class BeamArrays(NamedTuple):
    """The state of a beam search between two frames; grows by at most beam width nodes a frame."""

    tree: Tree
    rows: Rows


class _Work(NamedTuple):
    """Scratch arrays for a frame, allocated once, for a beam of width W and V classes."""

    stay_blank: np.ndarray  # (W,) float64: as in Rows, of the prefixes that stay as they are
    stay_label: np.ndarray  # (W,) float64
    stay_total: np.ndarray  # (W,) float64
    bound_in_word: np.ndarray  # (W,) float64: on an extension's score, if the word goes on
    bound_at_end: np.ndarray  # (W,) float64: and if the word ends
    first_child: np.ndarray  # (W,) int32: the row of a prefix that extends this one by a label
    next_sibling: np.ndarray  # (W,) int32
    scores: np.ndarray  # (W,) float64: the candidates for the next beam
    codes: np.ndarray  # (W,) int64: row · V + class; the class blank is the prefix that stays
    class_logp: np.ndarray  # (V,) float64: the classes that extend prefixes, best first
    classes: np.ndarray  # (V,) int64
    merged_at: np.ndarray  # (V,) int64: the last row whose extension by the class is in the beam


@numba.njit
def _make_work(width: int, n_classes: int) -> _Work:
    return _Work(
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width, np.int32),
        np.empty(width, np.int32),
        np.empty(width),
        np.empty(width, np.int64),
        np.empty(n_classes),
        np.empty(n_classes, np.int64),
        np.empty(n_classes, np.int64),
    )


@numba.njit
def _logaddexp(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a if b <= a - NEGLIGIBLE else a + math.log1p(math.exp(b - a))


# A heap of candidates has the worst one at its root. A candidate is a score and a code; of equal
# scores the lower code is better.


@numba.njit
def _is_worse(score: float, code: int, other_score: float, other_code: int) -> bool:
    return score < other_score or (score == other_score and code > other_code)


@numba.njit
def _sift_down(
    scores: np.ndarray, codes: np.ndarray, n: int, score: float, code: int, place: int
) -> None:
    """Puts a candidate at ``place``, or below as the heap's order needs, in a heap of ``n``."""
    child = 2 * place + 1
    while child < n:
        if child + 1 < n and _is_worse(
            scores[child + 1], codes[child + 1], scores[child], codes[child]
        ):
            child += 1
        if not _is_worse(scores[child], codes[child], score, code):
            break
        scores[place], codes[place] = scores[child], codes[child]
        place, child = child, 2 * child + 1
    scores[place], codes[place] = score, code


@numba.njit
def _heapify(scores: np.ndarray, codes: np.ndarray, n: int) -> None:
    for place in range(n // 2 - 1, -1, -1):
        _sift_down(scores, codes, n, scores[place], codes[place], place)


@numba.njit
def _offer(scores: np.ndarray, codes: np.ndarray, n: int, score: float, code: int) -> int:
    """Adds a candidate to a heap of ``n``; in a full heap it replaces the worst one, if better.

    Impossible candidates are not added. Returns the new size of the heap.
    """
    if n == len(scores):
        if _is_worse(scores[0], codes[0], score, code):
            _sift_down(scores, codes, n, score, code, 0)
        return n
    if score == -np.inf:
        return n
    place = n
    while place > 0 and _is_worse(score, code, scores[(place - 1) // 2], codes[(place - 1) // 2]):
        above = (place - 1) // 2
        scores[place], codes[place] = scores[above], codes[above]
        place = above
    scores[place], codes[place] = score, code
    return n + 1


@numba.njit
def _sort_best_first(scores: np.ndarray, codes: np.ndarray, n: int) -> None:
    """Sorts a heap of ``n`` (heapsort): moves the worst to the end, again and again."""
    for end in range(n - 1, 0, -1):
        score, code = scores[end], codes[end]
        scores[end], codes[end] = scores[0], codes[0]
        _sift_down(scores, codes, end, score, code, 0)


@without_refcounts
def _score_if_word_ends(fusion: Fusion, tree: Tree, node: int) -> tuple[float, int]:
    """(contribution of the language model to a prefix if its last word ends, its new state).

    Of several words with the same spelling the best counts.
    """
    spelt, state = tree.nodes[node, SPELT], tree.nodes[node, STATE]
    if fusion.kind != WORDS or spelt == TRIE_ROOT:
        return tree.lm_score[node, COMPLETED], state
    if not math.isnan(tree.lm_score[node, IF_WORD_ENDS]):
        return tree.lm_score[node, IF_WORD_ENDS], tree.nodes[node, END_STATE]
    entry = fusion.trie.word[spelt] if spelt != NONE else NO_WORD
    added, end_state = _score_entry(fusion, state, entry)
    while entry != NO_WORD and fusion.next_entry[entry] != NO_WORD:
        entry = fusion.next_entry[entry]
        of_other, state_of_other = _score_entry(fusion, state, entry)
        if of_other > added:
            added, end_state = of_other, state_of_other
    return tree.lm_score[node, COMPLETED] + added, end_state


@without_refcounts
def _score_entry(fusion: Fusion, state: int, entry: int) -> tuple[float, int]:
    """(what an entry of the vocabulary adds, NO_WORD for an unknown word, the state after it)."""
    word = fusion.entry_word[entry] if entry != NO_WORD else UNK
    logp, state = score(fusion.ngrams, state, word)
    if word != UNK:
        return fusion.lm_weight * logp + fusion.entry_bonus[entry], state
    return fusion.entry_value[entry] if entry != NO_WORD else fusion.unknown, state


@without_refcounts
def _score_choice(fusion: Fusion, tree: Tree, node: int, choice: int) -> tuple[float, int]:
    """As ``_score_if_word_ends`` for one of the words with the same spelling; -inf if none."""
    spelt, state = tree.nodes[node, SPELT], tree.nodes[node, STATE]
    if spelt == TRIE_ROOT:  # no word has begun: another boundary would be the same text again
        return -np.inf, state
    entry = fusion.trie.word[spelt] if spelt != NONE else NO_WORD
    for _ in range(choice):
        entry = fusion.next_entry[entry] if entry != NO_WORD else NO_WORD
    if choice and entry == NO_WORD:
        return -np.inf, state
    added, state = _score_entry(fusion, state, entry)
    return tree.lm_score[node, COMPLETED] + added, state


@without_refcounts
def _score_extension(
    fusion: Fusion, tree: Tree, node: int, label: int
) -> tuple[float, float, np.int32, int]:
    """(COMPLETED, BOUND, SPELT, STATE) of a prefix followed by ``label``."""
    completed = tree.lm_score[node, COMPLETED]
    spelt, state = tree.nodes[node, SPELT], tree.nodes[node, STATE]
    if fusion.kind == CHARACTERS:
        word = fusion.class_word[label]
        if word != NO_WORD:
            logp, state = score(fusion.ngrams, state, word)
            completed += (
                fusion.unknown if word == UNK else fusion.lm_weight * logp + fusion.word_bonus
            )
        return completed, completed, spelt, state
    if fusion.ends_word[label]:
        if fusion.has_choices:
            completed, state = _score_choice(fusion, tree, node, fusion.choice[label])
        else:
            completed, state = _score_if_word_ends(fusion, tree, node)
            tree.lm_score[node, IF_WORD_ENDS], tree.nodes[node, END_STATE] = completed, state
        spelt = np.int32(TRIE_ROOT)
        if not fusion.begins_word[label]:
            return completed, completed, spelt, state
    if spelt != NONE:  # it is the beginning of a word
        spelt = np.int32(find_child(fusion.trie.children, fusion.trie.label, spelt, label))
    best = fusion.unknown if spelt == NONE else fusion.best_completion[spelt]
    return completed, completed + best, spelt, state


@without_refcounts
def _find_or_add_child(nodes: np.ndarray, n_nodes: int, node: int, label: int) -> int:
    """The node of ``node`` followed by ``label``; a new node is made at ``n_nodes``.

    A prefix that left the beam and is reached again gets its old node: its children may still be in
    the beam, and with a second node the same labels could be in the beam twice.
    """
    child = nodes[node, FIRST_CHILD]
    while child != NONE:
        if nodes[child, LABEL] == label:
            return child
        child = nodes[child, NEXT_SIBLING]
    nodes[n_nodes, PARENT], nodes[n_nodes, LABEL] = node, label
    nodes[n_nodes, FIRST_CHILD] = nodes[n_nodes, ROW] = NONE
    nodes[n_nodes, NEXT_SIBLING] = nodes[node, FIRST_CHILD]
    nodes[node, FIRST_CHILD] = n_nodes
    return n_nodes


@without_refcounts
def _score_child(fusion: Fusion, tree: Tree, node: int, child: int) -> None:
    """Stores the language model's contribution to a new prefix, a child of ``node``."""
    nodes, lm_score = tree
    lm_score[child], nodes[child, SPELT], nodes[child, STATE] = 0.0, TRIE_ROOT, 0
    if fusion.kind != PLAIN:
        label = nodes[child, LABEL]
        completed, bound, spelt, state = _score_extension(fusion, tree, node, label)
        lm_score[child, COMPLETED], lm_score[child, BOUND] = completed, bound
        lm_score[child, IF_WORD_ENDS] = np.nan
        nodes[child, SPELT], nodes[child, STATE] = spelt, state


@numba.njit
def _with_room(array: np.ndarray, n_used: int, n_rows: int) -> np.ndarray:
    """A copy of the first ``n_used`` rows, with room for ``n_rows``."""
    larger = np.empty((n_rows, array.shape[1]), array.dtype)
    larger[:n_used] = array[:n_used]
    return larger


@numba.njit
def _make_rows(rows: Rows, width: int) -> Rows:
    """A copy of a beam with room for ``width`` rows."""
    n = len(rows.node)
    copy = Rows(np.empty(width, np.int32), np.empty(width), np.empty(width), np.empty(width))
    copy.node[:n], copy.total[:n] = rows.node, rows.total
    copy.p_blank[:n], copy.p_label[:n] = rows.p_blank, rows.p_label
    return copy


@without_refcounts
def _stay(tree: Tree, rows: Rows, n: int, frame: np.ndarray, blank: int, work: _Work) -> int:
    """Makes candidates of the prefixes that stay as they are; returns the number of possible ones.

    An extension that spells a prefix of the beam is added to that prefix.
    """
    nodes, lm_score = tree
    node_of, p_blank, p_label, total = rows
    stay_blank, stay_label, stay_total = work.stay_blank, work.stay_label, work.stay_total
    first_child, next_sibling = work.first_child, work.next_sibling
    scores, codes = work.scores, work.codes

    first_child[:n] = NONE
    for row in range(n):
        label = nodes[node_of[row], LABEL]
        stay_blank[row] = total[row] + frame[blank]
        stay_label[row] = p_label[row] + frame[label]
        parent = nodes[node_of[row], PARENT]
        owner = nodes[parent, ROW] if parent != NONE else NONE
        if owner != NONE:
            repeats = label == nodes[parent, LABEL]
            extended = p_blank[owner] if repeats else total[owner]
            stay_label[row] = _logaddexp(stay_label[row], extended + frame[label])
            next_sibling[row] = first_child[owner]
            first_child[owner] = row
    n_candidates = 0
    for row in range(n):
        stay_total[row] = _logaddexp(stay_blank[row], stay_label[row])
        if stay_total[row] > -np.inf:
            scores[n_candidates] = stay_total[row] + lm_score[node_of[row], BOUND]
            codes[n_candidates] = row * len(frame) + blank
            n_candidates += 1
    _heapify(scores, codes, n_candidates)
    return n_candidates


@without_refcounts
def _bound_extensions(fusion: Fusion, tree: Tree, rows: Rows, n: int, work: _Work) -> float:
    """Bounds the scores of each prefix's extensions, without the class's log probability.

    Returns the highest bound.
    """
    nodes, lm_score = tree
    node_of, total = rows.node, rows.total
    bound_in_word, bound_at_end = work.bound_in_word, work.bound_at_end

    highest = -np.inf
    for row in range(n):
        node = node_of[row]
        gain = fusion.most_of_new_word if nodes[node, SPELT] == TRIE_ROOT else 0.0
        bound_in_word[row] = bound_at_end[row] = total[row] + lm_score[node, BOUND] + gain
        if fusion.kind == WORDS:
            end_score = lm_score[node, COMPLETED] + fusion.most_of_ended_word
            if not math.isnan(lm_score[node, IF_WORD_ENDS]):
                end_score = lm_score[node, IF_WORD_ENDS]
            bound_at_end[row] = total[row] + end_score + fusion.most_after_end
        highest = max(highest, bound_in_word[row], bound_at_end[row])
    return highest


@without_refcounts
def _open_classes(
    frame: np.ndarray, blank: int, highest: float, lowest: float, n_tokens: int, work: _Work
) -> int:
    """Lists the classes, best first, whose extensions may enter the beam; returns their number.

    ``highest`` is the highest bound, ``lowest`` the lowest score that enters the beam.
    """
    class_logp, classes = work.class_logp, work.classes
    n_open = 0
    for label in range(len(frame)):
        if label != blank and frame[label] > -np.inf and highest + frame[label] >= lowest:
            class_logp[n_open], classes[n_open] = frame[label], label
            n_open += 1
    _heapify(class_logp, classes, n_open)
    _sort_best_first(class_logp, classes, n_open)
    return min(n_open, n_tokens)


@without_refcounts
def _extend(
    fusion: Fusion, tree: Tree, rows: Rows, n: int, n_open: int, n_candidates: int, work: _Work
) -> int:
    """Adds extensions of prefixes to the candidates; returns the new number of candidates.

    Each prefix is extended until no further extension can enter the full beam.
    """
    nodes = tree.nodes
    node_of, p_blank, _, total = rows
    bound_in_word, bound_at_end = work.bound_in_word, work.bound_at_end
    first_child, next_sibling, merged_at = work.first_child, work.next_sibling, work.merged_at
    class_logp, classes = work.class_logp, work.classes
    scores, codes = work.scores, work.codes
    ends_word = fusion.ends_word
    width, n_classes = len(scores), len(merged_at)

    merged_at[:] = NONE
    for row in range(n):
        node = node_of[row]
        last = nodes[node, LABEL]
        highest = max(bound_in_word[row], bound_at_end[row])
        child = first_child[row]
        while child != NONE:
            merged_at[nodes[node_of[child], LABEL]] = row
            child = next_sibling[child]
        for place in range(n_open):
            label, logp = classes[place], class_logp[place]
            code = row * n_classes + label
            if n_candidates == width:
                if _is_worse(highest + logp, code, scores[0], codes[0]):
                    break
                bound = bound_at_end[row] if ends_word[label] else bound_in_word[row]
                if _is_worse(bound + logp, code, scores[0], codes[0]):
                    continue
            if merged_at[label] == row:
                continue
            extended = (p_blank[row] if label == last else total[row]) + logp
            if fusion.kind != PLAIN:
                extended += _score_extension(fusion, tree, node, label)[1]
            n_candidates = _offer(scores, codes, n_candidates, extended, code)
    return n_candidates


@without_refcounts
def _rank(scores: np.ndarray, codes: np.ndarray, n: int, threshold: float) -> int:
    """Sorts the candidates, best first; returns the number within ``threshold`` of the best."""
    _sort_best_first(scores, codes, n)
    while n and scores[n - 1] < scores[0] - threshold:
        n -= 1
    return n


@without_refcounts
def _advance(
    fusion: Fusion,
    tree: Tree,
    n_nodes: int,
    rows: Rows,
    n: int,
    n_chosen: int,
    frame: np.ndarray,
    blank: int,
    work: _Work,
    next_rows: Rows,
) -> int:
    """Fills ``next_rows`` with the chosen candidates; returns the tree's new number of nodes."""
    nodes = tree.nodes
    node_of, p_blank, p_label, total = rows
    next_node, next_p_blank, next_p_label, next_total = next_rows
    stay_blank, stay_label, stay_total = work.stay_blank, work.stay_label, work.stay_total
    codes = work.codes

    for row in range(n):
        nodes[node_of[row], ROW] = NONE
    for place in range(n_chosen):
        row, label = divmod(codes[place], len(frame))
        node = node_of[row]
        if label == blank:
            next_p_blank[place], next_p_label[place] = stay_blank[row], stay_label[row]
            next_total[place] = stay_total[row]
        else:
            extended = (p_blank[row] if label == nodes[node, LABEL] else total[row]) + frame[label]
            next_p_blank[place], next_p_label[place] = -np.inf, extended
            next_total[place] = extended
            parent, node = node, _find_or_add_child(nodes, n_nodes, node, label)
            if node == n_nodes:
                n_nodes += 1
                _score_child(fusion, tree, parent, node)
        nodes[node, ROW] = place
        next_node[place] = node
    return n_nodes


@numba.njit
def _trace(nodes: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the chosen prefixes, concatenated, and the end of each prefix in them."""
    ends = np.empty(len(chosen), np.int64)
    n_labels = 0
    for i, node in enumerate(chosen):
        while node != ROOT:
            n_labels += 1
            node = nodes[node, PARENT]
        ends[i] = n_labels
    labels = np.empty(n_labels, np.int64)
    for i, node in enumerate(chosen):
        place = ends[i]
        while node != ROOT:
            place -= 1
            labels[place] = nodes[node, LABEL]
            node = nodes[node, PARENT]
    return labels, ends


@numba.njit
def _list_best(
    fusion: Fusion, tree: Tree, rows: Rows, n: int, n_best: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(labels, ends, logps, scores) of the best prefixes if the clip ends here."""
    scores, codes = np.empty(n), np.empty(n, np.int64)
    n_possible = 0
    for row in range(n):
        added = 0.0
        if fusion.kind != PLAIN:
            added, state = _score_if_word_ends(fusion, tree, rows.node[row])
            added += fusion.lm_weight * score(fusion.ngrams, state, EOS)[0]
        if rows.total[row] + added > -np.inf:
            scores[n_possible], codes[n_possible] = rows.total[row] + added, row
            n_possible += 1
    _heapify(scores, codes, n_possible)
    _sort_best_first(scores, codes, n_possible)
    best = codes[: min(n_possible, n_best)]
    labels, ends = _trace(tree.nodes, rows.node[best])
    return labels, ends, rows.total[best], scores[: len(best)].copy()


def first_beam(blank: int, fusion: Fusion) -> BeamArrays:
    """The beam before the first frame: the empty prefix."""
    nodes = np.full((1, 8), NONE, np.int32)
    nodes[ROOT, LABEL] = blank  # the empty prefix has no last label that could be repeated
    nodes[ROOT, ROW] = 0
    nodes[ROOT, SPELT], nodes[ROOT, STATE] = TRIE_ROOT, fusion.start
    certain, impossible = np.zeros(1), np.full(1, -np.inf)
    rows = Rows(np.zeros(1, np.int32), certain, impossible, certain)
    return BeamArrays(Tree(nodes, np.zeros((1, 3))), rows)


_FUSION, _STATE = numba.typeof(no_fusion(2)), numba.typeof(first_beam(0, no_fusion(2)))
_FRAMES = numba.types.Array(numba.float64, 2, "C", readonly=True)
_ARRAYS = tuple(
    numba.types.Tuple(tuple(part)) for part in _STATE
)  # plain tuples are cheaper to return
_BEST = numba.types.Tuple((*(numba.int64[::1],) * 2, *(numba.float64[::1],) * 2))
SIGNATURE = numba.types.Tuple((*_ARRAYS, _BEST))(
    _STATE, _FRAMES, *(numba.int64,) * 4, numba.float64, _FUSION
)


@compiled(SIGNATURE, "the beam search", uses=(fusing, ngrams, scoring, vocabulary))
def search(
    state: BeamArrays,
    frames: np.ndarray,
    blank: int,
    width: int,
    n_best: int,
    n_tokens: int,
    threshold: float,
    fusion: Fusion,
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The beam after further ``frames`` (T', V) float64, and its ``n_best`` label sequences.

    After each frame the beam keeps the ``width`` prefixes of the highest score: the log probability
    plus the contribution of ``fusion``. Only the ``n_tokens`` likeliest classes of a frame extend
    prefixes; a prefix whose score is more than ``threshold`` below the best is dropped.

    Returns the fields of the new state's tree, those of its rows (the old state is not changed and
    may be used again) and the sequences, best first, scored as if the clip ended here: the labels
    of all sequences concatenated, the end of each in them, their natural log probabilities, and
    their scores. They are empty if every path is impossible. The frames of a clip may come in any
    number of calls: with the same settings in each, the last call returns what a single one would.
    """
    n, n_nodes = len(state.rows.node), len(state.tree.nodes)
    n_room = n_nodes + 2 * width
    tree = Tree(
        _with_room(state.tree.nodes, n_nodes, n_room),
        _with_room(state.tree.lm_score, n_nodes, n_room),
    )
    rows, next_rows = _make_rows(state.rows, width), _make_rows(state.rows, width)
    work = _make_work(width, frames.shape[1])

    for t in range(len(frames)):
        frame = frames[t]
        n_candidates = _stay(tree, rows, n, frame, blank, work)
        highest = _bound_extensions(fusion, tree, rows, n, work)
        lowest = work.scores[0] if n_candidates == width else -np.inf
        n_open = _open_classes(frame, blank, highest, lowest, n_tokens, work)
        n_candidates = _extend(fusion, tree, rows, n, n_open, n_candidates, work)
        n_chosen = _rank(work.scores, work.codes, n_candidates, threshold)
        if n_nodes + n_chosen > len(tree.nodes):
            n_room = 2 * len(tree.nodes)
            tree = Tree(
                _with_room(tree.nodes, n_nodes, n_room), _with_room(tree.lm_score, n_nodes, n_room)
            )
        n_nodes = _advance(fusion, tree, n_nodes, rows, n, n_chosen, frame, blank, work, next_rows)
        rows, next_rows, n = next_rows, rows, n_chosen

    best = _list_best(fusion, tree, rows, n, n_best)
    return (
        (tree.nodes[:n_nodes], tree.lm_score[:n_nodes]),
        (rows.node[:n], rows.p_blank[:n], rows.p_label[:n], rows.total[:n]),
        best,
    )
