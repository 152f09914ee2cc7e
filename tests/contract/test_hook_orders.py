"""In whatever order a program imports, enables, disables and downloads: each download goes where the last word sent it.

Every order is a program of its own: a fork of a Python that has imported nothing, two at a time.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from tests.support.fake_agent import FakeAgent
from tests.support.hub import FakeHub, File
from tests.support.workstation import Workstation

WEIGHTS = random.Random(1).randbytes(1 << 20)
CONTENTS = {File.of(WEIGHTS, lfs=True).etag: WEIGHTS}

STEPS = {
    "package": "import huggingface_hub",
    "module": "import huggingface_hub.file_download",
    "from": "from huggingface_hub import hf_hub_download as taken",
    "enable": "import llmpt; assert llmpt.enable_p2p() is True; on = True",
    "disable": "import llmpt; llmpt.disable_p2p(); on = False",
    "download": "download()",
}
HANDPICKED = [
    (),  # installation alone
    ("disable",),
    ("disable", "enable"),
    ("enable", "disable", "enable"),
    ("from", "disable", "download", "enable"),
    ("from", "enable", "download", "disable"),
    ("disable", "from", "enable", "download", "disable"),
    ("disable", "disable", "module", "enable", "enable"),
    ("module", "disable", "download", "disable", "download", "enable"),
]
ORDERS = [*HANDPICKED, *random.Random(829).sample(list(itertools.permutations(STEPS)), 15)]

PROGRAM = f"""
import json, os, sys
ORDERS, STEPS = {ORDERS!r}, {STEPS!r}

def run(number, order):
    scope = {{"on": True}}
    made = []
    def download():
        if "taken" not in scope:
            import huggingface_hub
        function = scope.get("taken") or huggingface_hub.hf_hub_download
        cache = f"order-{{number}}-{{len(made)}}"
        made.append([cache, scope["on"], function("org/model", "model.safetensors", cache_dir=cache)])
    scope["download"] = download
    for step in (*order, "download"):
        exec(STEPS[step], scope)
    import llmpt
    assert llmpt.is_enabled() is scope["on"], order
    with open(f"order-{{number}}.json", "w") as out:
        json.dump(made, out)

assert not {{name for name in sys.modules if name.startswith("huggingface_hub")}}
running, failed = {{}}, []
for number, order in [*enumerate(ORDERS), (None, None), (None, None)]:
    if order is None or len(running) == 2:
        if not running:
            break
        child, status = os.wait()
        ended = running.pop(child)
        failed += [ORDERS[ended]] if status else []
    if order is None:
        continue
    child = os.fork()
    if child == 0:
        try:
            run(number, order)
        except BaseException as error:
            print(order, repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    running[child] = number
made = [json.load(open(f"order-{{number}}.json")) for number in range(len(ORDERS))] if not failed else []
print(json.dumps({{"failed": failed, "made": sum(made, [])}}))
"""


def test_every_download_goes_where_the_last_word_sent_it(workstation: Workstation, hub: FakeHub) -> None:
    hub.add("org/model", {"model.safetensors": WEIGHTS})
    with FakeAgent(workstation.runtime, CONTENTS) as agent:
        run = workstation.run(PROGRAM)
        assert run.result["failed"] == [], run.err
    made = run.result["made"]
    assert len(made) == len(ORDERS) + sum(order.count("download") for order in ORDERS)
    assert all((workstation.home / path).read_bytes() == WEIGHTS for _, _, path in made)
    from_the_lan = {Path(asked["destination"]).relative_to(workstation.home).parts[0] for asked in agent.fetches}
    assert from_the_lan == {cache for cache, on, _ in made if on}
    assert hub.byte_gets == sum(not on for _, on, _ in made) > 0
