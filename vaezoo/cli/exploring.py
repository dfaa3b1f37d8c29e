"""`vaezoo explore`."""

from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("explore", help="write a page that shows the latent space in any browser")
    command.add_argument("run", metavar="RUN", help="a run directory or a preset, of images or melodies")
    command.add_argument("--out", metavar="PAGE", help="the page, which ends in .html (default: RUN/explorer.html)")
    command.add_argument(
        "--runtime",
        metavar="FILE",
        help="LiteRT.js, as `npm pack @litertjs/core` writes it (default: fetched with npm once, then kept)",
    )
    command.set_defaults(command=_explore)


def _explore(arguments):
    with quick_tensorflow():
        from vaezoo.explorer import explore
        from vaezoo.presets import open_run
    done = explore(open_run(arguments.run), arguments.out, arguments.runtime)
    for name, network in done.content.networks.items():
        megabytes = len(network.content) / 1e6
        print(f"{name}: {megabytes:.2f} MB, {network.precision} weights, largest error {network.error:.1e}")
    for note in done.content.notes:
        print(f"note: {note}")
    print(f"{done.path}: {done.size / 1e6:.2f} MB; open it in any browser")
