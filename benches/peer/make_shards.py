"""Makes the webdataset shards that both sides read: JPEG files of 640x480 pixels with a caption each."""

import webdataset

from make_picture import HOME, SIZES, make

SHARDS, SAMPLES = 3, 32


def main():
    folder, picture = HOME / "shards", HOME / "shards/picture.jpg"
    if (folder / f"{SHARDS - 1:05}.tar").exists():
        return
    folder.mkdir(exist_ok=True)
    for shard in range(SHARDS):
        partial = folder / "partial"
        with webdataset.TarWriter(str(partial)) as writer:
            for number in range(shard * SAMPLES, (shard + 1) * SAMPLES):
                picture.unlink(missing_ok=True)
                make(picture, *SIZES[0], seed=number)
                writer.write({"__key__": f"{number:08}", "jpg": picture.read_bytes(), "txt": f"picture {number} of noise"})
        partial.rename(folder / f"{shard:05}.tar")
    picture.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
