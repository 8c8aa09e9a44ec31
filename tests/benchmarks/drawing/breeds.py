"""The 37 official breeds and how each of them looks in the drawn dataset."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Breed:
    """One of the 37 official breeds as the lists name it, and the rest of its row in `_LOOKS`."""

    name: str
    class_id: int  # 1..37
    species: int  # 1 is cat, 2 is dog
    breed_id: int  # within the species
    looks: tuple[str, ...]


# Columns: name, ears, tail; snout, girth, legs, fluff, head (1 is an average pet's); colors of the
# base, the marks, the light parts, the eyes; pattern; areas in the color of the marks; areas in the
# light one; extras.
_LOOKS = """
Abyssinian tall long .7 .85 1.1 .2 .95 b5713c 7d4a26 dfb48a 9aa83c ticked - muzzle -
american_bulldog fold saber .6 1.2 1 .1 1.1 f0e8dc a9794f fbf6ec 5a3c22 patch - muzzle,bib -
american_pit_bull_terrier fold saber .7 1.1 1 .1 1.1 8a7f7c 5f5654 f3ece2 8a6a3a solid - blaze,bib,leg -
basset_hound hang saber 1 1.1 .4 .1 1.15 b06a35 2c2320 f5ece0 5a3a20 solid back blaze,bib,leg,muzzle,tip -
beagle floppy saber .8 1 .85 .1 1 b8763c 2b2422 f8f1e6 4d321c solid back blaze,bib,leg,muzzle,tip -
Bengal prick long .6 .95 1 .1 .9 d09a55 4a2c1a ecd2a4 8fae48 spots tip muzzle -
Birman prick plume .5 1 .85 .7 1 ead9bf 5b4536 fbf5ea 4d86c9 solid ear,face,muzzle,tail paw,bib ruff
Bombay prick long .5 1 1 .1 1 2a272b 151316 444046 d8973a solid - - -
boxer fold stub .5 1.1 1.1 .1 1.1 b9793f 2a211e f6ecdd 4a2f1c solid muzzle bib,paw,blaze -
British_Shorthair small long .4 1.2 .8 .5 1.1 7f8894 5c6470 a9b1bb d88a2c solid - - -
chihuahua bat saber .5 .85 .9 .1 1.2 d2a36a 9a6e40 f2e2c8 3d281a solid - muzzle,bib,paw -
Egyptian_Mau prick long .6 .9 1.1 .1 .9 b7b2a8 4a4644 d9d5cc a5c455 spots tip muzzle -
english_cocker_spaniel hang stub .8 1 .9 .7 1 9a5628 6a3818 c08a58 3f2815 solid ear - -
english_setter hang plume 1 1 1.1 .6 1 f3ede2 4b4a50 fdf9f1 4a3320 speckle ear - -
german_shorthaired floppy stub 1 1 1.1 .1 .95 cfc4b7 5a3524 e6dccf 8a6233 speckle hood,muzzle - -
great_pyrenees floppy plume .8 1.2 1 .9 1 f6efe2 d9c9ae fffaf0 3b281b solid - - ruff
havanese floppy plume .5 1.1 .6 1 1.1 e6d3b2 b08a62 f7ecd8 33241a patch ear muzzle beard,brow
japanese_chin hang plume .2 1 .7 .9 1.1 f6f1e8 28242a fdf9f2 2c2018 patch hood blaze,muzzle -
keeshond small curl .6 1.2 .9 1 1 a09a92 35322f ddd7cc 3a271a ticked ear,muzzle,face leg,tip ruff
leonberger floppy plume .8 1.3 1.1 .9 1.1 b98347 2b221d dbb67e 4a2f1a solid ear,muzzle,face - ruff
Maine_Coon tuft plume .8 1.1 1 .9 1 94714c 3c2a1d d8bc94 c2b04a tabby - muzzle,bib ruff
miniature_pinscher tall saber .7 .85 1.1 .05 .95 2c2523 1a1515 b36d33 3a2412 solid - muzzle,leg,brow,bib -
newfoundland floppy plume .7 1.3 1 .9 1.1 2b2829 171516 45403f 54361f solid - - ruff
Persian small plume .1 1.2 .6 1 1.1 d9cdbd a39483 f4ece0 d9872b solid - - ruff
pomeranian small curl .4 1.2 .7 1 1 d98c45 b06a2c f3cf9c 2a1a12 solid - bib,muzzle ruff
pug fold curl .1 1.1 .7 .1 1.2 d8b98c 2a2320 ead4ae 2d1d14 solid ear,muzzle,face - -
Ragdoll prick plume .5 1.1 .9 .8 1 efe4d4 75655c fdf8f0 4f8fd0 solid ear,face,tail blaze,bib,leg,muzzle ruff
Russian_Blue tall long .7 .9 1 .2 .95 8791a0 666f7e a9b2bf 7fb253 solid - - -
saint_bernard floppy plume .7 1.3 1 .7 1.2 f4ebdd a2562a fdf7ee 4a2d1b patch hood blaze,muzzle,bib,leg -
samoyed small curl .6 1.2 .9 1 1 fbf7f0 e4dccd ffffff 2d2019 solid - - ruff
scottish_terrier tall saber .9 1.1 .4 .7 1.1 302d30 19181a 4c494c 33221a solid - - beard,brow
shiba_inu small curl .7 1 1 .4 1 cf8442 a5622c f8ecd8 2e1c12 solid - muzzle,bib,leg,brow -
Siamese bat long .9 .8 1.1 .05 .9 e6d5b8 46342c f1e6d0 4f93d9 solid ear,face,muzzle,leg,tail - -
Sphynx bat whip .6 .85 1.1 0 1 dfae98 c08d78 f0cbb8 8fb8a0 wrinkle - - -
staffordshire_bull_terrier fold saber .6 1.2 .9 .1 1.1 6a4c38 2c2220 efe5d8 4a3020 brindle - bib,blaze -
wheaten_terrier fold saber .8 1 1 .8 1 d9b883 b89360 ecd7ae 3a2618 solid ear - beard,brow
yorkshire_terrier prick saber .6 .95 .6 .9 1 6a6e78 3e4148 c98f4e 2c1c12 solid - muzzle,leg,face beard,brow
"""  # noqa: E501


def _breeds():
    ids = [0, 0]
    for class_id, row in enumerate(_LOOKS.split("\n")[1:-1], start=1):
        name, *looks = row.split()
        dog = name[0].islower()  # as in the official names
        ids[dog] += 1
        yield Breed(name, class_id, 1 + dog, ids[dog], tuple(looks))


BREEDS: tuple[Breed, ...] = tuple(_breeds())
