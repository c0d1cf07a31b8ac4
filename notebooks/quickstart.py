# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart: an FCN on the embedded data set
#
# Train for a moment, open the checkpoint, label an image. `make notebooks` turns this script into a notebook and runs it.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fcn_lightning
from fcn_lightning.config import build, compose
from fcn_lightning.reporting.panels import colorize, panel

# %% [markdown]
# ## The data
#
# `shapes` is drawn from a seed: nine classes that share their colours. A sample is an RGB image and a mask of class numbers.
# The same line works for any data set that `conf/dataset/` knows.

# %%
config = compose("dataset=shapes")
scenes = build(config.dataset).build("val")
figure, axes = plt.subplots(2, 5, figsize=(10, 4.2))
for index, (top, bottom) in enumerate(axes.T):
    image, mask = scenes[index]
    top.imshow(image)
    bottom.imshow(colorize(mask, scenes.labels.palette))
    top.axis("off")
    bottom.axis("off")

# %% [markdown]
# ## Train
#
# The same command as in a terminal, for a few steps only. `python -m fcn_lightning.train` alone trains as long as the README says.

# %%
steps = 60
run = Path(tempfile.mkdtemp()) / "run"
command = [sys.executable, "-m", "fcn_lightning.train", f"schedule.max_steps={steps}", f"hydra.run.dir={run}"]
done = subprocess.run(command, capture_output=True, text=True, check=False)
print(done.stdout[-700:], done.stderr)
assert done.returncode == 0

# %% [markdown]
# ## Predict
#
# `load` opens a checkpoint without executing anything in it; the result takes an image array and gives class numbers at its size.

# %%
predictor = fcn_lightning.load(run / "checkpoints/best.ckpt")
image, mask = scenes[0]
pred = predictor.predict(image)
plt.figure(figsize=(10, 3))
plt.imshow(panel(image, mask, pred, predictor.card.labels.palette))
plt.axis("off")
print("right pixels:", np.mean(pred == mask).round(3), "| classes seen:", [predictor.card.labels.classes[c] for c in np.unique(pred)])
