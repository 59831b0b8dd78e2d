"""Given a model and a learning rate that goes wrong: is it the rate?"""

from __future__ import annotations

