"""`mbrl track`: generate random tracks, and look at tracks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.track_picture import draw
from mbrl_ros.core.config import parse_settings, read_settings
from mbrl_ros.core.speed_profile import SpeedProfile, speed_profile
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.core.track_grid import TrackGrid, grid_error
from mbrl_ros.core.vehicle import Vehicle

app = typer.Typer(help="Generate random closed tracks, and look at tracks.", no_args_is_help=True)

_DEFAULTS = TrackSettings()


def _help(field: str) -> str:
    return TrackSettings.model_fields[field].description or ""


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(help="CSV file to write")],
    seed: Annotated[int, typer.Option(min=0, help="the same seed and wishes give the same track")] = 0,
    length_m: Annotated[float, typer.Option(help=_help("length_m"))] = _DEFAULTS.length_m,
    corners: Annotated[int, typer.Option(help=_help("corners"))] = _DEFAULTS.corners,
    min_radius_m: Annotated[float, typer.Option(help=_help("min_radius_m"))] = _DEFAULTS.min_radius_m,
    max_radius_m: Annotated[float, typer.Option(help=_help("max_radius_m"))] = _DEFAULTS.max_radius_m,
    min_half_width_m: Annotated[float, typer.Option(help=_help("min_half_width_m"))] = _DEFAULTS.min_half_width_m,
    max_half_width_m: Annotated[float, typer.Option(help=_help("max_half_width_m"))] = _DEFAULTS.max_half_width_m,
    gap_m: Annotated[float, typer.Option(help=_help("gap_m"))] = _DEFAULTS.gap_m,
    picture: Annotated[Path | None, typer.Option(help="PNG file to draw the track to")] = None,
    json_file: JsonFile = None,
) -> None:
    """Write a random closed track with the wanted length, curvature and widths.

    Example: mbrl track generate my_track.csv --seed 7 --length-m 80 --picture my_track.png
    """
    wishes = {
        "length_m": length_m,
        "corners": corners,
        "min_radius_m": min_radius_m,
        "max_radius_m": max_radius_m,
        "min_half_width_m": min_half_width_m,
        "max_half_width_m": max_half_width_m,
        "gap_m": gap_m,
    }
    track = generate_track(seed, parse_settings(wishes, TrackSettings, "mbrl track generate"), name=out.stem)
    options = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in wishes.items())
    out.parent.mkdir(parents=True, exist_ok=True)
    track.to_csv(out, [f"mbrl track generate {out.name} --seed {seed} {options}"])
    _answer(Track.from_csv(out), None, picture, json_file)


@app.command()
def show(
    track: Annotated[str, typer.Argument(help="CSV file, or the name of a track in config/tracks")],
    vehicle: Annotated[
        str | None, typer.Option(help="YAML file or name in config/vehicles: adds how fast it could drive")
    ] = None,
    lateral_mps2: Annotated[float, typer.Option(min=0.1, help="lateral acceleration that this vehicle reaches")] = 5.0,
    picture: Annotated[Path | None, typer.Option(help="PNG file to draw the track to")] = None,
    json_file: JsonFile = None,
) -> None:
    """Print a track's figures, and draw it with its curvature, its widths and a speed profile.

    Exit status 1 when coordinates are ambiguous somewhere on the track.

    Example: mbrl track show demo --vehicle f1tenth --picture demo.png
    """
    shown = Track.from_csv(config_file("tracks", track, ".csv"))
    profile = None
    if vehicle is not None:
        limits = read_settings(config_file("vehicles", vehicle, ".yaml"), Vehicle).limits
        profile = speed_profile(
            shown,
            lateral_limit=lateral_mps2,
            acceleration_limit=limits.acceleration_mps2,
            braking_limit=limits.braking_mps2,
            top_speed=limits.speed_mps,
        )
    _answer(shown, profile, picture, json_file)
    if shown.notes:
        raise typer.Exit(1)


def _answer(track: Track, profile: SpeedProfile | None, picture: Path | None, json_file: Path | None) -> None:
    figures = _figures(track, profile)
    table = Table(title=f"track {track.name}", show_header=False)
    for name, value in figures.items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.3f}")
    table.add_row(
        "grid error, 99 % of points", "{lateral_p99:.1e} m lateral, {s_p99:.1e} m along".format(**figures["grid_error"])
    )
    console = Console()
    console.print(table)
    for note in track.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True, highlight=False)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(track, profile, picture)
    write_figures(json_file, figures)


def _figures(track: Track, profile: SpeedProfile | None) -> dict[str, Any]:
    curvature = np.abs(track.at(track.samples).curvature)
    widths = track.widths_left + track.widths_right
    figures: dict[str, Any] = {
        "length_m": track.length_m,
        "min_radius_m": float(1 / curvature.max()),
        "min_width_m": float(widths.min()),
        "max_width_m": float(widths.max()),
    }
    if profile is not None:
        figures |= {"profile_lap_s": profile.time_s, "profile_top_speed_mps": float(profile.speed.max())}
    return figures | {"grid_error": asdict(grid_error(track, TrackGrid(track))), "notes": list(track.notes)}
