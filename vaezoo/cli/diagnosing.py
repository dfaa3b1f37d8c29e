"""`vaezoo doctor`."""

from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("doctor", help="what is wrong with a run, and what to try")
    command.add_argument("run", metavar="RUN", help="a run directory, or a preset as in conv_vae/mnist")
    command.set_defaults(command=_doctor)


def _doctor(arguments):
    with quick_tensorflow():
        from vaezoo.evaluation.doctor import diagnose
        from vaezoo.presets import open_run
    findings = diagnose(open_run(arguments.run))
    for finding in findings:
        print(f"{finding.severity}: {finding.name}: {finding.text}")
    if not findings:
        print("nothing found: the data, the likelihood, the code, the training and the prior look healthy")
