"""train_model.py with the tiny design, as a process of its own: ``python train_tiny.py OPTION ... -- WORD ...``.

--cpus N         TensorFlow sees N logical devices
--killed_after K the process dies at the end of this epoch, as by SIGKILL
--join_seconds S how long processes wait for each other at the beginning
"""

import argparse
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]


def main() -> int:
    mark = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--killed_after", type=int)
    parser.add_argument("--join_seconds", type=int)
    args = parser.parse_args(sys.argv[1:mark])
    sys.argv = ["train_model.py", *sys.argv[mark + 1 :]]
    if args.cpus > 1:
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration()] * args.cpus
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)

    from emotion import train
    from emotion.models import ARCHITECTURES, Design
    from emotion.training import devices

    ARCHITECTURES["tiny"] = Design("tiny_design")
    train.workflows.write_onnx = lambda *_: None  # whose process knows no tiny design
    if args.join_seconds is not None:
        devices.JOIN_SECONDS = args.join_seconds
    if args.killed_after is not None:
        from emotion.training.callbacks import EpochCheckpoint

        save = EpochCheckpoint.on_epoch_end

        def die(self, epoch, logs=None):
            save(self, epoch, logs)
            if epoch == args.killed_after:
                os._exit(9)

        EpochCheckpoint.on_epoch_end = die
    return train.run()


if __name__ == "__main__":
    sys.exit(main())
