"""Links like those of a real run, with known chances of being right."""

from __future__ import annotations

import math

import numpy as np
from cielo.link.confidence import Features

EXACT = Features(log_prob=math.log(0.8), margin=2.0, method="exact", match="literal", distance=None, codes=1)


def sample(count: int, seed: int = 0) -> tuple[list[Features], list[bool], np.ndarray]:
    """Return links like those of a real run, whether they are right, and the chance with which they are."""
    rng = np.random.default_rng(seed)
    features, chances = [], []
    for _ in range(count):
        probability = float(np.clip(rng.beta(1.2, 0.5), 1e-4, 1 - 1e-4))
        method = "exact" if rng.random() < 0.5 + 0.45 * probability else "semantic"
        match = None if method == "semantic" else "normal" if rng.random() < 0.2 else "literal"
        distance = float(rng.uniform(0.05, 1.0)) if method == "semantic" else None
        codes = 1 if method == "semantic" else int(rng.choice([1, 1, 1, 2, 4]))
        margin = float(rng.exponential(1 + 4 * probability))
        features.append(Features(math.log(probability), margin, method, match, distance, codes))
        odds = math.log(probability / (1 - probability)) + 0.2 * margin - 0.9 * math.log(codes) - 2.5 * (distance or 0)
        chances.append(1 / (1 + math.exp(-(odds - 0.4))))
    right = rng.random(count) < np.array(chances)
    return features, right.tolist(), np.array(chances)
