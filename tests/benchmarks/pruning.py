"""What pruning saves, as a user sees it: python tests/benchmarks/pruning.py

Two grids of `method=prune`, each with the table and the curve that it ends with.
"""

from __future__ import annotations

from _grids import publish_grids

PRUNERS = "pruner=magnitude,random,n_m,wanda,structured_l1"
GRIDS = {
    "image": ["method=prune", PRUNERS, "sparsity=0.5,0.8,0.9", "task=image", "architecture=vit", "model=tiny"],
    "tabular": ["method=prune", PRUNERS, "sparsity=0.5,0.8,0.9", "task=tabular", "model=tiny"],
}

if __name__ == "__main__":
    publish_grids(__doc__, GRIDS, "pruning", "What pruning saves")
