"""The commands of the latent space: sample, reconstruct, manifold, traverse, interpolate, edit, embed."""

import itertools

from vaezoo.cli.latent_files import add_images, add_run, checked_out, chosen_images, class_of, finite, leave, title_of
from vaezoo.cli.quiet import quiet_tensorflow
from vaezoo.errors import VaezooError


def add_commands(commands):
    """Add the commands of this module to the parser."""
    command = _command(commands, "sample", _sample, "draw images from the prior")
    command.add_argument("-n", type=int, metavar="N", help="how many images (64), or styles of a conditional run (8)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of the draw (0)")
    command.add_argument(
        "--label", metavar="C", help="the class (conditional runs; without it: every style, every class)"
    )
    add_images(command, required=False)

    command = _command(commands, "reconstruct", _reconstruct, "decode the posterior means of images")
    add_images(command)

    command = _command(commands, "manifold", _manifold, "decode a grid over two latent axes")
    _range(command)
    command.add_argument("--size", type=int, default=20, metavar="N", help="images along each axis (20)")
    command.add_argument("--axes", type=int, nargs=2, metavar="I", help="the two axes (the most informative)")
    command.add_argument("--quantile", action="store_true", help="space the grid by the normal's quantiles")
    command.add_argument("--label", metavar="C", help="the class (conditional runs)")
    command.add_argument("--map", action="store_true", help="draw the test set in the same two axes beside it")

    command = _command(commands, "traverse", _traverse, "sweep each latent axis, the most informative first")
    add_images(command)
    _range(command)
    command.add_argument("--steps", type=int, default=11, metavar="N", help="images a sweep (11)")
    command.add_argument("--top", type=int, metavar="N", help="only the N most informative axes")
    _gif(command)

    command = _command(commands, "interpolate", _interpolate, "go from image to image through the latent space")
    add_images(command)
    command.add_argument("--steps", type=int, default=9, metavar="N", help="images from one to the next (9)")
    command.add_argument("--spherical", action="store_true", help="along arcs about the origin, not straight lines")
    _gif(command)

    command = _command(commands, "edit", _edit, "move images towards a class or another known factor")
    add_images(command)
    command.add_argument(
        "--toward",
        action="append",
        required=True,
        metavar="FACTOR=VALUE",
        help="label=7, thickness=high, rotation=low, ...; given again: both at once",
    )
    command.add_argument(
        "--amount", type=finite, nargs="+", default=[0, 0.25, 0.5, 0.75, 1], metavar="A", help="how far (0 to 1)"
    )

    command = _command(commands, "embed", _embed, "map the posterior means of the test set")
    command.add_argument("--axes", type=int, nargs=2, metavar="I", help="draw these two axes, not a PCA")
    command.add_argument("--count", type=int, metavar="N", help="the first N test images (all)")


def _command(commands, name, function, text):
    command = commands.add_parser(name, help=text)
    add_run(command)
    command.set_defaults(command=lambda arguments: _with_run(arguments, function))
    return command


def _range(command):
    command.add_argument("--range", type=finite, default=3.0, metavar="R", help="from -R to R (3)")


def _gif(command):
    command.add_argument("--gif", action="store_true", help="leave a film too")


def _with_run(arguments, function):
    checked_out(arguments)
    with quiet_tensorflow():
        from vaezoo.training import Run
    function(Run(arguments.run), arguments)


def _sample(run, arguments):
    from vaezoo import latent_space, plots

    model, given = run.model, arguments.index is not None or arguments.image is not None
    if arguments.label is not None and given:
        raise VaezooError("--label draws one class; with --index or --image every class is drawn: leave one out")
    if arguments.label is not None or not (given or model.conditional):
        label = None if arguments.label is None else class_of(run, arguments.label)
        n = 64 if arguments.n is None else arguments.n
        result = latent_space.sample(model, n, arguments.seed, label)
        kind = "samples from the prior" if label is None else f"samples of class {arguments.label}"
        figure = plots.image_grid(result.images, max(1, round(n**0.5)), title_of(run, kind))
        return leave(arguments, "sample", figure, result._asdict())
    names = None
    if given:
        images, labels, names = chosen_images(run, arguments)
        if arguments.n is not None:
            raise VaezooError(
                "-n counts draws from the prior; with --index or --image the styles are theirs: leave one out"
            )
        codes = latent_space.embed(model, images, labels)
    else:
        codes = latent_space.prior_codes(model, 8 if arguments.n is None else arguments.n, arguments.seed)
    result = latent_space.style_by_class(model, codes)
    title = title_of(run, "one row a style, one column a class")
    flat = result.images.reshape(-1, *model.image_shape)
    figure = plots.image_grid(flat, model.classes, title, names, list(run.data.class_names))
    leave(arguments, "styles", figure, result._asdict())


def _reconstruct(run, arguments):
    from vaezoo import latent_space, plots

    images, labels, _ = chosen_images(run, arguments)
    result = latent_space.reconstruct(run.model, images, labels)
    error = f"squared error {result.squared_error.mean():.4f} a pixel, {result.nats.mean():.1f} nats an image"
    cost = "" if result.bits is None else f"; {result.bits.mean():.1f} bits of latent"
    print(f"{error}{cost}")
    title = title_of(run, "images and their decoded posterior means") + f"\n{error}{cost}"
    figure = plots.reconstructions(result.inputs, result.images, title)
    leave(arguments, "reconstruct", figure, result._asdict())


def _manifold(run, arguments):
    from vaezoo import latent_space, plots
    from vaezoo.latent_space import of_run

    model, axes, chosen = run.model, arguments.axes, ""
    label = None if arguments.label is None else class_of(run, arguments.label)
    if axes is None and model.latent_dim > 2:
        axes = of_run.axis_information(run).order[:2]
        chosen = f"the two most informative of {model.latent_dim} latent axes are z{axes[0]} and z{axes[1]}"
    result = latent_space.manifold(model, arguments.range, arguments.size, axes, arguments.quantile, label)
    if chosen:
        print(chosen)
    rest = ", the others at 0" if model.latent_dim > 2 else ""
    what = "the plane of" if len(result.axes) == 2 else "the line of"
    names = [f"z{axis}" for axis in result.axes]
    title = title_of(run, f"{what} {' and '.join(names)}, decoded{rest}")
    flat = result.images.reshape(-1, *model.image_shape)
    if arguments.map and len(result.axes) == 2:
        points, labels = of_run.embedding_of_test(run)
        figure = plots.manifold_and_map(
            result.images, result.values, points[:, result.axes], labels, run.data.class_names, names, title
        )
    elif arguments.map:
        raise VaezooError("--map needs two latent axes, and this model has one; leave it out")
    else:
        rows = result.values[::-1] if len(result.axes) == 2 else [0]
        figure = plots.axis_grid(flat, arguments.size, result.values, rows, names[0], "".join(names[1:]), title)
    leave(arguments, "manifold", figure, result._asdict())


def _traverse(run, arguments):
    from vaezoo import latent_space, plots
    from vaezoo.latent_space import of_run

    images, labels, names = chosen_images(run, arguments)
    if len(images) != 1:
        raise VaezooError(f"traverse starts from one image and was given {len(images)}; give one")
    found = of_run.axis_information(run)
    if arguments.top is not None and not 1 <= arguments.top <= len(found.order):
        raise VaezooError(f"--top {arguments.top} is outside 1 to {len(found.order)}, the model's latent axes")
    label = None if labels is None else labels[0]
    axes = found.order[: arguments.top]
    result = latent_space.traverse(run.model, images[0], label, arguments.range, arguments.steps, axes)
    unit = {"bits": "bits", "variance": "var."}[found.unit]
    rows = [f"z{axis}  {found.values[axis]:.2f} {unit}" for axis in axes]
    span = plots.number(arguments.range)
    title = title_of(run, f"latent axes of {names[0]}, swept from −{span} to {span}")
    flat = result.images.reshape(-1, *run.model.image_shape)
    columns = plots.ticks(result.values)
    figure = plots.image_grid(flat, arguments.steps, title, rows, columns)
    frames = None
    if arguments.gif:
        frames = plots.round_trip(plots.sweep_film(result.images, [f"z{axis}" for axis in axes], title))
    arrays = {**result._asdict(), "image": images[0], "information": found.values[axes]}
    leave(arguments, "traverse", figure, arrays, frames, seconds=0.12)


def _interpolate(run, arguments):
    from vaezoo import latent_space, plots

    images, labels, names = chosen_images(run, arguments)
    method = "spherical" if arguments.spherical else "linear"
    result = latent_space.interpolate(run.model, images, labels, arguments.steps, method)
    count, rows = len(images), len(result.images)
    if count in (3, 4):
        corners = f"{names[0]} and {names[1]} above, {names[2]}{f' and {names[3]}' if count == 4 else ''} below"
        title, row_labels = title_of(run, f"between {count} images ({method})\n{corners}"), None
    else:
        ratios = latent_space.step_ratio(result.images)
        print("\n".join(f"largest step / mean step: {ratio:.2f}" for ratio in ratios))
        title = title_of(
            run, f"from {names[0]} to {names[-1]} ({method})" if rows == 1 else f"{count} images ({method})"
        )
        row_labels = None if rows == 1 else [f"{a} to {b}" for a, b in itertools.pairwise(names)]
    figure = plots.image_grid(result.images.reshape(-1, *run.model.image_shape), arguments.steps, title, row_labels)
    frames = None
    if arguments.gif:
        steps = max(12, arguments.steps)
        frames = plots.image_film(latent_space.tour(run.model, images, labels, steps, method)[:, None], cell=280)
    leave(arguments, "interpolate", figure, result._asdict(), frames, seconds=0.08)


def _edit(run, arguments):
    from vaezoo import latent_space, plots
    from vaezoo.latent_space import of_run

    images, labels, names = chosen_images(run, arguments)
    targets = [latent_space.characteristic(text) for text in arguments.toward]
    average, count = of_run.cached_average(run, targets)
    wanted = " and ".join(map(str, targets))
    print(f"the average code of {count:,} training images with {wanted}")
    result = latent_space.edit(run.model, images, average, arguments.amount, labels)
    rows = [[image, *edited] for image, edited in zip(result.inputs, result.images, strict=True)]
    columns = ["input", *map(plots.number, arguments.amount)]
    title = title_of(run, f"towards {wanted}, by amount")
    flat = [image for row in rows for image in row]
    figure = plots.image_grid(flat, len(columns), title, names, columns)
    leave(arguments, "edit", figure, result._asdict())


def _embed(run, arguments):
    from vaezoo import plots
    from vaezoo.latent_space import generation, of_run

    axes = None if arguments.axes is None else generation.checked_axes(run.model, arguments.axes)
    codes, labels = of_run.embedding_of_test(run, arguments.count)
    plane = plots.plane_of(codes, axes)
    points = plane.project(codes)
    title = title_of(run, f"{len(codes):,} test images")
    figure = plots.latent_map(points, labels, run.data.class_names, title, plane.names)
    leave(arguments, "embed", figure, {"codes": codes, "labels": labels, "points": points})
