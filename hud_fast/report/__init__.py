"""The report room: figures as in the paper, and one self-contained page that shows and explains a run.

``panels`` (figure 3), ``spectral_density`` (figure 4), ``endmembers``, ``abundance_maps``, ``residual_map``,
``training_curve``, ``power_spectra``, ``abundance_histograms``, ``labelled_samples`` and ``label_maps`` each return a
``matplotlib.figure.Figure``; ``write_report`` puts figures, numbers, settings and timings into ``report.html``, as do
``write_comparison`` and ``write_augmentation``. matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

from hud_fast.report.augmentation_page import augmentation_figures, write_augmentation
from hud_fast.report.augmentation_tables import augmentation_tables
from hud_fast.report.axis import title_of
from hud_fast.report.class_maps import label_maps, labelled_samples
from hud_fast.report.comparison_figures import comparison_densities, comparison_panels
from hud_fast.report.comparison_page import ComparisonTable, Entry, write_comparison
from hud_fast.report.density import spectral_density
from hud_fast.report.page import write_report
from hud_fast.report.panels import panels
from hud_fast.report.quality import abundance_histograms, power_spectra
from hud_fast.report.samples import generated_abundances
from hud_fast.report.style import save_figure
from hud_fast.report.training import training_curve
from hud_fast.report.unmixing import abundance_maps, endmembers, residual_map

__all__ = [
    "ComparisonTable",
    "Entry",
    "abundance_histograms",
    "abundance_maps",
    "augmentation_figures",
    "augmentation_tables",
    "comparison_densities",
    "comparison_panels",
    "endmembers",
    "generated_abundances",
    "label_maps",
    "labelled_samples",
    "panels",
    "power_spectra",
    "residual_map",
    "save_figure",
    "spectral_density",
    "title_of",
    "training_curve",
    "write_augmentation",
    "write_comparison",
    "write_report",
]
