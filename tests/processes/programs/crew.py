"""What the command line finds as `crew:kapusta`: the tasks that CREW names, on the store that it names.

CREW is JSON: the url, the lease and the grace in seconds, and tasks: names of bodies, each with its mode.
"""

from __future__ import annotations

import json
import os

import bodies

from kapusta import Kapusta

crew = json.loads(os.environ["CREW"])
kapusta = Kapusta(crew["url"], lease=crew["lease"], grace=crew["grace"], max_tick_interval=300)
for name, mode in crew["tasks"].items():
    kapusta.register_task(getattr(bodies, name), mode, name=name)

not_one = "a text"
