"""The two processes that torchrun would start, forked, so that torch is imported once. For tests.

`python -m tests.helpers.together WORDS` exits with 1 if one of them fails.
"""

import os
import socket
import sys

from tests.helpers import dying


def main(words: list[str]) -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    os.environ |= {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}
    children = []
    for rank in "01":
        if (child := os.fork()) == 0:
            os.setsid()
            os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
            return dying.main(words)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
