"""Names of images: their parts, and when two of them mean the same."""


def plain(image: str) -> str:
    """An image's name without what Docker adds by itself, so that two spellings of one image are alike."""
    return image.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")


def repository_of(image: str) -> str:
    """The image's name without tag and digest."""
    bare = image.split("@")[0]
    head, colon, tail = bare.rpartition(":")
    return head if colon and "/" not in tail else bare


def tag_of(image: str) -> str:
    """The image's tag, `latest` where none is written."""
    bare = image.split("@")[0]
    return bare.removeprefix(repository_of(image)).removeprefix(":") or "latest"
