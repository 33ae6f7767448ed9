"""Prefix beam search, compiled: finds what ``decoding.reference_beam_decode`` finds, but fast.

Three things make it so. Prefixes are nodes of a tree in flat arrays. The beam and the classes of a
frame are both held best first, so that a prefix is extended only until an extension could not
enter the beam: by far most of beam × classes candidates are never looked at. And exp and log are
taken only where paths of one prefix meet.

All of it stands in this one file, because the copy kept on disk is renewed when the file of
``search`` has changed, not when what it calls has.
"""

import math

import numba
import numpy as np

from asr_ctc.compiled import compiled

SIGNATURE = numba.types.Tuple((numba.int64[::1], numba.int64[::1], numba.float64[::1]))(
    numba.types.Array(numba.float64, 2, "C", readonly=True),
    *(numba.int64, numba.int64, numba.int64, numba.int64, numba.float64),
)
NEGLIGIBLE = 38.0  # exp(-38) adds nothing to 1 in float64

# Columns of the prefix tree (nodes, 5) int32; -1 stands for none.
PARENT, LABEL, FIRST_CHILD, NEXT_SIBLING, ROW = range(5)  # ROW: where in the beam the prefix is
ROOT, NONE = 0, -1


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
    tree[n_nodes, PARENT] = node
    tree[n_nodes, LABEL] = label
    tree[n_nodes, NEXT_SIBLING] = tree[node, FIRST_CHILD]
    tree[n_nodes, FIRST_CHILD] = tree[n_nodes, ROW] = NONE
    tree[node, FIRST_CHILD] = n_nodes
    return n_nodes


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


@compiled(SIGNATURE, "the beam search")
def search(frames, blank, width, n_best, n_tokens, threshold):
    """The ``n_best`` likeliest label sequences after ``frames`` (T', V) float64, best first.

    ``width`` prefixes go on after each frame. At most ``n_tokens`` classes extend a prefix, the
    frame's likeliest; a prefix that is ``threshold`` below the best leaves. Returns the labels of
    all sequences one after the other, where each of them ends in there, and their natural log
    probabilities; nothing when every path is impossible.
    """
    n_frames, n_classes = frames.shape

    tree = np.empty((2 * width + 1, 5), np.int32)
    tree[ROOT] = NONE
    tree[ROOT, LABEL] = blank  # the empty prefix ends in no label, so none repeats it
    tree[ROOT, ROW] = 0
    n_nodes = 1

    # The beam, best first: log probability of a prefix's paths that end in blank, of those that
    # end in its last label, and of both. The next one is made in a second set of arrays.
    n = 1
    nodes, next_nodes = np.zeros(width, np.int32), np.empty(width, np.int32)
    p_blank, next_p_blank = np.zeros(width), np.empty(width)
    p_label, next_p_label = np.full(width, -np.inf), np.empty(width)
    total, next_total = np.zeros(width), np.empty(width)

    stay_blank, stay_label = np.empty(width), np.empty(width)
    scores, codes = np.empty(width), np.empty(width, np.int64)
    class_scores, classes = np.empty(n_classes), np.empty(n_classes, np.int64)
    first_child, next_sibling = np.empty(width, np.int32), np.empty(width, np.int32)  # in the beam
    merged_at = np.full(n_classes, -1)  # the last row whose extension by the class is in the beam

    for t in range(n_frames):
        frame = frames[t]

        # Prefixes that stay. An extension that spells a prefix of the beam is added to it.
        first_child[:n] = -1
        for row in range(n):
            label = tree[nodes[row], LABEL]
            stay_blank[row] = total[row] + frame[blank]
            stay_label[row] = p_label[row] + frame[label]
            parent = tree[nodes[row], PARENT]
            owner = tree[parent, ROW] if parent >= 0 else -1
            if owner >= 0:
                repeats = label == tree[parent, LABEL]
                grown = p_blank[owner] if repeats else total[owner]
                stay_label[row] = _logaddexp(stay_label[row], grown + frame[label])
                next_sibling[row] = first_child[owner]
                first_child[owner] = row
        n_kept = 0
        for row in range(n):
            score = _logaddexp(stay_blank[row], stay_label[row])
            if score > -np.inf:
                scores[n_kept], codes[n_kept] = score, row * n_classes + blank
                n_kept += 1
        _heapify(scores, codes, n_kept)

        # Classes that extend the best prefix into the beam, if any prefix, best first.
        least = scores[0] if n_kept == width else -np.inf
        n_open = 0
        for label in range(n_classes):
            if label != blank and frame[label] > -np.inf and total[0] + frame[label] >= least:
                class_scores[n_open], classes[n_open] = frame[label], label
                n_open += 1
        _heapify(class_scores, classes, n_open)
        _sort_best_first(class_scores, classes, n_open)
        n_open = min(n_open, n_tokens)

        # Extensions, until one, and hence all that follow, would be the worst of a full beam.
        merged_at[:] = -1
        for row in range(n):
            child = first_child[row]
            while child >= 0:
                merged_at[tree[nodes[child], LABEL]] = row
                child = next_sibling[child]
            last = tree[nodes[row], LABEL]
            n_tried = 0
            for label, score in zip(classes[:n_open], class_scores[:n_open]):
                code = row * n_classes + label
                most = total[row] + score
                if n_kept == width and _worse(most, code, scores[0], codes[0]):
                    break
                n_tried += 1
                if merged_at[label] == row:
                    continue
                score = p_blank[row] + score if label == last else most
                if n_kept < width:
                    if score > -np.inf:
                        _append(scores, codes, n_kept, score, code)
                        n_kept += 1
                elif _worse(scores[0], codes[0], score, code):
                    _sift_down(scores, codes, n_kept, score, code, 0)
            if n_tried == 0:
                break

        _sort_best_first(scores, codes, n_kept)
        while n_kept and scores[n_kept - 1] < scores[0] - threshold:
            n_kept -= 1
        if n_kept == 0:
            n = 0
            break

        if n_nodes + n_kept > len(tree):
            grown_tree = np.empty((2 * len(tree), 5), np.int32)
            grown_tree[:n_nodes] = tree[:n_nodes]
            tree = grown_tree
        for row in range(n):
            tree[nodes[row], ROW] = -1
        for place in range(n_kept):
            row, label = divmod(codes[place], n_classes)
            node = nodes[row]
            if label == blank:
                next_p_blank[place], next_p_label[place] = stay_blank[row], stay_label[row]
            else:
                node = _child(tree, n_nodes, node, label)
                n_nodes += node == n_nodes
                next_p_blank[place], next_p_label[place] = -np.inf, scores[place]
            tree[node, ROW] = place
            next_nodes[place], next_total[place] = node, scores[place]
        n = n_kept
        nodes, next_nodes = next_nodes, nodes
        p_blank, next_p_blank = next_p_blank, p_blank
        p_label, next_p_label = next_p_label, p_label
        total, next_total = next_total, total

    labels, ends = _spell(tree, nodes[: min(n, n_best)])
    return labels, ends, total[: len(ends)]
