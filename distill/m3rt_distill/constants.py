"""The numbers that the code fixes and the recipe leaves out, one frozen dataclass for each module that uses them.

Each comment names the quantity and its unit, then says which other values were tried and their effect. Quality is mean
nDCG@10, and distill/LOG.md has its conditions. "Not tried" means that the log knows of no other value. Every number
here changes the weights that a seed leads to, so a new value needs a new entry in the log.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VocabularyConstants:
    """data/vocabulary.py and pipeline.py: which pieces are kept and how rare they are."""

    # Texts of each language that the vocabulary is chosen by. Not tried.
    sample_texts_per_language: int = 8000
    # Sentences in a passage, for a piece's rarity. Tried by formula: 1 .614, 3 .617, 6 .615, 12 .612, 25 .605.
    passage_sentences: int = 3
    # Texts without the piece that are added to each language, so that a language of few texts says little. Not tried.
    smoothing_texts: int = 2000
    # Smallest and largest share of texts that a piece is said to occur in. Not tried.
    min_text_share: float = 1e-4
    max_text_share: float = 0.9
    # Characters of a script in the texts, from which on its pieces are kept. Not tried.
    min_script_characters: int = 100
    # Multiple of its use that is added to a single character that no text has: without its characters a word cannot be
    # spelled. Not tried.
    unseen_character_factor: float = 20


@dataclass(frozen=True, slots=True)
class MadeUpConstants:
    """data/substitution.py: sentences some of whose words are replaced. None of these was tried with another value."""

    # Lowest and highest share of a sentence's words that are replaced.
    replaced_share: tuple[float, float] = (0.2, 1.0)
    # Shortest and longest sentence, in characters, that another one is made of.
    sentence_characters: tuple[int, int] = (20, 240)
    # Fewest letters of a word: in scripts with spaces between words, and without.
    min_letters: int = 3
    min_letters_unspaced: int = 2
    # Occurrences in the texts from which on a word's language is the one that uses it most.
    min_occurrences: int = 3
    # Share of a language's word occurrences from which on it is written in a script.
    min_script_share: float = 0.02


@dataclass(frozen=True, slots=True)
class PassageConstants:
    """data/passages.py, data/lessons.py: longer texts made of sentences. None of these was tried with another value."""

    # Nearest neighbours of a passage's first sentence that the other sentences are drawn from.
    neighbours: int = 60
    # Pairs that a data set and language must have for each passage made of them.
    pairs_per_passage: int = 8
    # Sentences of each passage that may be the query for it; their number fixes the shape of Lessons.members.
    query_sentences: int = 4


@dataclass(frozen=True, slots=True)
class BagConstants:
    """training/bag.py: training of the embedding table without layers."""

    # Divisor of cosines in InfoNCE. Not tried.
    temperature: float = 0.05
    # Standard deviation of the table at the start. A step of Adam then moves a row by about a hundredth. Not tried.
    table_std: float = 0.1
    # Factors of the two InfoNCE losses beside the cosine loss. Tried for search: ten times as much in 800 more steps,
    # dense .342 to .374, sparse .449 to .383, all .649 to .614; none, dense .21 instead of .27 in arcd, .29 instead of
    # .26 in tldr_xx_en.
    contrast_weight: float = 0.1
    search_weight: float = 0.1
    # Largest number of pairs in a search batch, and pairs drawn as near neighbours at a time. Not tried.
    max_pairs: int = 1024
    pairs_per_group: int = 1


@dataclass(frozen=True, slots=True)
class AlignmentConstants:
    """start/alignment.py: linear maps that make languages alike."""

    # Ridge towards the identity, in sentences. Tried: 300 and 30, ntrex_doc across .352 and .361 instead of .355, all
    # else alike.
    ridge_sentences: float = 100.0
    # Most sentences of each language that its map is fitted to. Not tried.
    max_sentences_per_language: int = 8000
    # Most translations that the noise of each direction is measured on. Not tried.
    max_noise_pairs: int = 60_000


@dataclass(frozen=True, slots=True)
class DictionaryConstants:
    """start/dictionary.py: IBM model 1 and the use of its links."""

    # Most sentences of each language that the model is fitted to. Not tried.
    max_sentences_per_language: int = 20_000
    # Pairs of pieces at which a sentence and its translation are left out: they say little about one piece. Not tried.
    piece_pairs_limit: int = 2500
    # Rounds of expectation maximisation. Not tried.
    em_rounds: int = 5
    # Lowest strength (0 to 1) of a link. Tried: .02 .720, .15 .720, .25 .712 instead of .722.
    min_strength: float = 0.05
    # Lowest cosine at which an unlinked piece takes the nearest pivot piece. Tried: .3 .720, .4 .722, .6 .726 instead
    # of .725; ntrex_doc across .474, .476, .474 instead of .484.
    min_cosine: float = 0.5
    # A piece belongs to the pivot language if (1 + this) * its count there exceeds its count overall. Tried: links for
    # all pieces, which finds as much in one language and less in ntrex_doc across (.467 instead of .475).
    pivot_count_weight: float = 2.0
    # Factor of a piece's translations beside the piece itself. Tried: .5 .723, 3 .723, 1.5 twice .724 instead of .728.
    translation_weight: float = 1.5


@dataclass(frozen=True, slots=True)
class TableConstants:
    """start/channels.py: the student's embedding table."""

    # Norm of a row's signs divided by the norm of its words. Tried: .85 .639, .7 .629, .5 .611 instead of .644, but
    # more in xquad_dev across (.241, .246, .248 instead of .233); 1.2 .727 instead of .722, but less in xquad_dev
    # across (.275 instead of .279).
    sign_norm_per_word_norm: float = 1.0
    # Signs in a block that the second sign table keeps or turns as a whole. More or fewer find alike.
    sign_block_channels: int = 12
    # Word channels are clipped at this many times their RMS, so that rounding leaves all rows equally long. Not tried.
    word_clip_in_rms: float = 2.5
    # Passes of centring, scaling and clipping, after which a row meets all three nearly. Not tried.
    word_clip_passes: int = 4
    # Steps of a word channel on each side of 0. Tried: 7, at two channels to a byte, .647 instead of .644 on nine sets;
    # 3 .702 instead of .701 on five.
    word_steps_each_side: int = 2
    # Word channels that share a byte at that many steps: 5 ** 3 values are fewer than 256.
    word_channels_per_byte: int = 3
    # Value of </s> in channel END: at most the largest word value, so that it does not widen int8's range. Not tried.
    end_value: float = 2.0
    # Units of channel RARITY for each unit of the log rarity, few enough that all rows stay nearly equally long. Not
    # tried.
    rarity_units_per_log: float = 0.3
    # Steps of channel RARITY from the most common piece to the rarest: as many as four bits hold.
    rarity_steps: int = 14
    # Rarity, in nats, of pieces that are in nearly every passage. Not tried.
    min_rarity_nats: float = 0.3


@dataclass(frozen=True, slots=True)
class StartConstants:
    """start/layers.py: the layers and heads before training."""

    # Standard deviation of linear maps that are not set otherwise: BERT's.
    linear_std: float = 0.02
    # Standard deviation of random weights beside those that are set. Tried: .02: dense .412 instead of .499.
    noise_std: float = 0.002
    # Amplitude of the positions' sinusoids beside words of RMS 1. Not tried.
    wave_amplitude: float = 0.05

    # First layer: logit between two tokens of one sense; between different senses it is near 0. Not tried. Rows of
    # unequal length made it 7.5 to 10.4.
    same_sense_logit: float = 9.0
    # First layer: logit subtracted where <s> looks at any other token. Tried: 10, with which </s> was half of what <s>
    # read (dense .619 instead of .654).
    start_apart_logit: float = 22.0
    # First layer: channels that share that logit, since int8 has one scale for all weights. Tried: one, whose weights
    # left words six steps (cosine to fp32 .90 instead of .996).
    start_apart_channels: int = 4
    # Units of channel SHARE for a share of 1, so that the weights that read it are small. Not tried.
    share_units: float = 2.0
    # Fit of the log of (k + 1) / (k + n), but for a constant, over x = k / (k + n) for n up to 100: slope * (x - bend *
    # gelu(sharpness * (knee - x))). Tried: a slope alone, with which the logs of the words' weights were .33 to .41 off
    # instead of .10 to .11.
    count_slope: float = 3.05
    count_bend: float = 0.658
    count_sharpness: float = 7.0
    count_knee: float = 0.133

    # Last layer: logit of any word above that of <s>. Not tried.
    word_above_start_logit: float = 4.0
    # Last layer: channels of each head's queries and keys that are used; an export leaves the rest out. Not tried.
    key_channels: int = 16
    # Last layer: factor of the weighted mean as it is added to each token. Tried: .2, with which ColBERT finds .645
    # instead of .687; 1 finds less too.
    mean_gain: float = 2.5

    # Lexical weight of a word of mean log rarity, and its change for each unit of the log: near BM25's weights. Not
    # tried.
    lexical_weight: float = 0.39
    lexical_weight_per_log: float = 0.195


@dataclass(frozen=True, slots=True)
class FormulaConstants:
    """student/formulas.py: the weights that the student is held to."""

    # BM25's k1 and b, and the tokens of a passage of average length. Not tried here.
    bm25_k1: float = 1.2
    bm25_b: float = 0.75
    bm25_passage_tokens: float = 150
    # Lexical weight for each unit of BM25's, so that weights lie near BGE-M3's. Tried: .2 for the m3-tiny before, of
    # which half finds more across languages (ntrex_doc .489 instead of .477, all views) and less in one (chunking_eval
    # .764 instead of .772).
    lexical_units: float = 0.13
    # k of the mean of words: the n-th occurrence of a word adds less, by (k + 1) / (k + n). Tried: .6 .524, 1.2 .542
    # instead of .550; later, with signs and places, 1.5 .622, 4 .619 instead of .624.
    saturation: float = 2.5
    # A place's weight falls from 1 towards the floor; after this many tokens half of the difference is gone. Tried: 40
    # .622, 100 .624 instead of .624.
    place_halving_tokens: float = 60
    # Lowest weight of a place. Tried: 0 .582 instead of .603; with more signs, .2 .621, .45 .624 instead of .624.
    place_floor: float = 0.3


@dataclass(frozen=True, slots=True)
class BatchConstants:
    """training/batches.py. None of these was tried with another value, but for hard negatives and pairs."""

    # Texts whose lengths differ by at most this factor may change their order within an epoch.
    length_noise_factor: float = 1.1
    # Ranks of neighbours that serve as hard negatives; the nearest ones often are right answers as well.
    hard_negative_ranks: tuple[int, int] = (2, 12)
    # Cosine of targets above which two passages mean the same and are no negatives of each other.
    duplicate_cosine: float = 0.95
    # Pairs of which one batch is drawn, and the factor by which their lengths may differ from the batch's.
    pool_pairs: int = 20_000
    pool_length_factor: float = 1.15
    # Smallest and largest number of pairs in a batch. Tried for the largest: four times as many passages without hard
    # negatives, 60 steps: dense .492, where 100 steps as here had .495.
    min_pairs: int = 8
    max_pairs: int = 192
    # Near neighbours, the seed among them, that are drawn together.
    pairs_per_group: int = 4
    # Shortest and longest span of a text that its query keeps, as a share, and its fewest tokens.
    query_span_share: tuple[float, float] = (0.4, 1.0)
    query_min_tokens: int = 3
    # Highest share of a span's tokens that are dropped from the query.
    query_max_dropped_share: float = 0.3


@dataclass(frozen=True, slots=True)
class TrainingConstants:
    """training/run.py, training/stages.py: the optimiser, the warm-up. None of these was tried with another value."""

    # Adam's decay rates of the first and second moments.
    adam_betas: tuple[float, float] = (0.9, 0.98)
    # Largest norm of all gradients together; longer ones are scaled down to it.
    max_gradient_norm: float = 1.0
    # Warm-up: divisor of cosines between texts of a batch.
    warmup_temperature: float = 0.05
    # Warm-up: factor of the lexical loss beside the dense one.
    warmup_lexical_weight: float = 2


VOCABULARY = VocabularyConstants()
MADE_UP = MadeUpConstants()
PASSAGES = PassageConstants()
BAG = BagConstants()
ALIGNMENT = AlignmentConstants()
DICTIONARY = DictionaryConstants()
TABLE = TableConstants()
START = StartConstants()
FORMULAS = FormulaConstants()
BATCHES = BatchConstants()
TRAINING = TrainingConstants()
