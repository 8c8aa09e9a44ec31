"""Built from 08.py by build.py first: python build.py 08.py NOTEBOOK --no-run; then this adds the quiz."""
from i4ex import *
import subprocess,sys
SRC08=ROOT/'08_break_it_on_purpose.ipynb'
subprocess.run(['/work/main/.venv/bin/python','/tmp/nb/build.py','/tmp/i4/drafts/08.py',str(SRC08),'--no-run'],check=True)
nb=NB.__new__(NB); nb.path=SRC08; nb.nb=json.loads(SRC08.read_text()); nb.cells=nb.nb['cells']
nb.quiz([
('Training runs without errors on masks that hold 1, 2 and 3, with a network of four classes. What tells you that something is wrong?',[
 ('The first loss is near ln 4 and not ln 3.',1,'A network that knows nothing loses the logarithm of the number of its classes.'),
 ('The loss does not fall.',0,'It does: any labels can be learned by heart.'),
 ('The values of the masks: 0 never occurs.',1,'One line of code, before any training.')]),
('Your network cannot overfit a single batch. Where do you look?',[
 ('At the network, the loss and the loop.',1,'Learning a few pairs by heart needs nothing else.'),
 ('For more training pairs.',0,'More pairs make learning by heart harder.'),
 ('At the augmentation of the batch.',0,'There should be none in this test: the pairs must stay the same.')]),
('The validation score during training was 0.70. The same weights, in a script of their own, give 0.35 on the same pairs. What are likely causes?',[
 ('`eval()` is missing.',1,'Then the batch decides on its own normalization.'),
 ('The images are not normalized as in training.',1,'Or are BGR, or of another size.'),
 ('Overfitting.',0,'The pairs are the same, and so are the weights. Only what is around them differs.')]),
('A validation mIoU of 0.95, where others report 0.75. What do you check first?',[
 ('Whether photos of the validation list are also in training, mirrored or renamed.',1,'A leak is the usual reason for a score that is too good.'),
 ('How the score is computed: over batches, with absent classes as 1, without the border?',1,'Definitions move a score by more than most ideas do.'),
 ('Nothing: publish.',0,'Somebody else will check.')]),
('A GPU runs out of memory at batches of 32. What takes most of it, in a U-Net?',[
 ('The weights.',0,'Four numbers for each parameter with Adam: tens to hundreds of megabytes, whatever the batch.'),
 ('The maps that are kept for the backward pass, mostly those at full resolution.',1,'They grow with the batch and with the square of the side.'),
 ('The images.',0,'Three channels. The first layer alone has many more.')]),
])
nb.save()
