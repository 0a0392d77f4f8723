//! What pictures and sounds come to, by who makes the model. Facts of the providers' public guides,
//! widened where a guide leaves open which of several rules holds for a model. A model that no row
//! names is counted by the widest rule of its provider.

use super::request::{Detail, MediaResolution};

/// Tokens: least, expected, most.
pub(super) type Range = [u64; 3];

/// Width and height in pixels.
pub(super) type Size = (u64, u64);

/// How a provider counts pictures and sounds.
pub(super) struct Media {
    read: Reading,
    made: Making,
    /// Tokens of a second of sound that is heard.
    audio_in: Range,
    /// Tokens of a second of sound that is spoken.
    audio_out: Range,
    /// Tokens of a frame of video that is watched, without its sound.
    frame: Range,
    /// Tokens of a page of a document that is read.
    page: Range,
}

/// Tokens of a picture that is read.
#[derive(Clone, Copy)]
enum Reading {
    /// Some pixels to a token: most, expected, least; within the tokens of any picture. A small
    /// picture may still count as whole tiles: so many tokens more. `tile` are the tokens of each
    /// tile of 768 pixels, where a picture may be cut into them however large it is; else 0.
    Area { any: Range, pixels: [u64; 3], tiles: u64, tile: u64 },
    /// The picture is fitted into a square of 2,048 pixels, its short side to 768; then there are
    /// tokens of a picture, and of each tile of 512 pixels. Low detail: of the picture alone.
    Tiles { picture: Range, tile: Range },
    /// Patches of 32 pixels, and thousandths of a token a patch. Where a picture has more than its
    /// detail allows, it is scaled down.
    Patches { high: u64, original: Option<Original>, thousandths: Range },
}

/// The detail "original".
#[derive(Clone, Copy)]
struct Original {
    /// Patches at most.
    patches: u64,
    /// Whether that is what a request gets that names no detail.
    is_default: bool,
}

/// Tokens of a picture that is made.
#[derive(Clone, Copy)]
enum Making {
    /// Of low, medium, high quality, a square of 1,024 pixels; half as much again for other shapes.
    /// Where none is named, any may be. Larger ones by their pixels.
    Quality([Range; 3]),
    /// What `gpt-image-2` is billed, and percents of that: least, expected, most.
    Axes(Range),
    /// By pixels: up to so many, and the tokens.
    Steps(&'static [(u64, Range)]),
}

/// "Images and vision": patches.
static OPENAI: Media = Media {
    read: Reading::Patches {
        high: 2_500,
        original: Some(Original { patches: u64::MAX, is_default: true }),
        thousandths: [1_000, 1_200, 1_720],
    },
    made: Making::Axes([50, 100, 200]),
    // "Realtime and audio": a token for 100 ms heard, for 50 ms spoken.
    audio_in: [9, 10, 12],
    audio_out: [18, 20, 24],
    frame: [0, 290, 1_988],
    page: [200, 2_000, 12_000],
};

static OPENAI_5_5: Media = Media {
    read: Reading::Patches {
        high: 2_500,
        original: Some(Original { patches: 10_000, is_default: true }),
        thousandths: [1_000, 1_200, 1_200],
    },
    ..OPENAI
};

static OPENAI_5_4: Media = Media {
    read: Reading::Patches {
        high: 2_500,
        original: Some(Original { patches: 10_000, is_default: false }),
        thousandths: [1_000, 1_200, 1_200],
    },
    ..OPENAI
};

/// 1,536 patches; developers have seen 2,500 billed.
static OPENAI_SMALL: Media = Media {
    read: Reading::Patches { high: 2_500, original: None, thousandths: [1_000, 1_620, 2_460] },
    ..OPENAI
};

/// "Images and vision": tiles, 65 to 85 and 129 to 170 each.
static OPENAI_TILES: Media =
    Media { read: Reading::Tiles { picture: [65, 75, 85], tile: [129, 150, 170] }, ..OPENAI };

/// The small GPT-4o counts a picture 33 times as high, so that it costs what it costs elsewhere.
static OPENAI_4O_MINI: Media = Media {
    read: Reading::Tiles { picture: [2_833, 2_833, 2_833], tile: [5_667, 5_667, 5_667] },
    ..OPENAI
};

/// "Image generation": 272, 1,056, 4,160 tokens a square. Pictures that are read with high fidelity
/// are up to 6,240 tokens more.
static GPT_IMAGE_1: Media = Media {
    read: Reading::Tiles { picture: [65, 1_000, 6_400], tile: [129, 129, 170] },
    made: Making::Quality([[245, 272, 300], [950, 1_056, 1_162], [3_744, 4_160, 4_576]]),
    ..OPENAI
};

/// "Image generation", its calculator.
static GPT_IMAGE_2: Media = Media { made: Making::Axes([100, 100, 100]), ..GPT_IMAGE };

/// Later ones, whose calculator is not known: between half and twice as many.
static GPT_IMAGE: Media = Media { made: Making::Axes([50, 100, 200]), ..GPT_IMAGE_1 };

/// "Vision": width times height by 750, at most about 1,600, since Opus 4.7 about 4,800. "PDF
/// support": 1,500 to 3,000 tokens a page, and its picture.
static ANTHROPIC: Media = Media {
    read: Reading::Area { any: [50, 1_400, 4_800], pixels: [800, 750, 500], tiles: 300, tile: 0 },
    page: [200, 3_000, 8_000],
    ..OTHER
};

/// "Understand and count tokens": 258 a picture or tile of 768 pixels, since Gemini 3 up to 2,240 by
/// the media resolution; 32 tokens a second of sound, 25 spoken; a frame of video, of which a
/// second has one where the request doesn't say it, is 66 to 280, and some for its time; its sound
/// comes on top. "Image generation": by size.
static GOOGLE: Media = Media {
    read: Reading::Area {
        any: [66, 1_120, 2_600],
        pixels: [12_000, 2_300, 500],
        tiles: 1_600,
        tile: 258,
    },
    made: Making::Steps(&[
        (600_000, [747, 747, 1_290]),
        (2_100_000, [1_120, 1_120, 1_290]),
        (8_000_000, [1_120, 1_680, 1_680]),
        (u64::MAX, [2_000, 2_520, 2_520]),
    ]),
    audio_in: [25, 32, 34],
    audio_out: [24, 25, 34],
    frame: [66, 268, 296],
    page: [258, 560, 2_600],
};

static GEMINI_2_5: Media =
    Media { made: Making::Steps(&[(u64::MAX, [1_290, 1_290, 1_290])]), ..GOOGLE };

static GEMINI_3_1_FLASH: Media = Media {
    made: Making::Steps(&[
        (600_000, [747, 747, 747]),
        (2_100_000, [1_120, 1_120, 1_120]),
        (8_000_000, [1_680, 1_680, 1_680]),
        (u64::MAX, [2_520, 2_520, 2_520]),
    ]),
    ..GOOGLE
};

static OTHER: Media = Media {
    read: Reading::Area {
        any: [64, 1_100, 16_400],
        pixels: [12_000, 750, 250],
        tiles: 1_600,
        tile: 0,
    },
    made: Making::Quality([[100, 500, 3_000], [190, 1_000, 5_000], [190, 4_000, 9_000]]),
    audio_in: [7, 20, 50],
    audio_out: [12, 25, 50],
    frame: [60, 280, 1_950],
    page: [200, 2_000, 12_000],
};

/// What a model's name contains; the first that fits counts.
static NAMES: &[(&str, &Media)] = &[
    ("gpt-image-1", &GPT_IMAGE_1),
    ("gpt-image-2.", &GPT_IMAGE),
    ("gpt-image-2", &GPT_IMAGE_2),
    ("gpt-image", &GPT_IMAGE),
    ("gpt-4o-mini", &OPENAI_4O_MINI),
    ("gpt-4.1-mini", &OPENAI_SMALL),
    ("gpt-4.1-nano", &OPENAI_SMALL),
    ("gpt-4", &OPENAI_TILES),
    ("o4-mini", &OPENAI_SMALL),
    ("gpt-5-mini", &OPENAI_SMALL),
    ("gpt-5-nano", &OPENAI_SMALL),
    ("gpt-5.1", &OPENAI_TILES),
    ("gpt-5.2", &OPENAI_SMALL),
    ("gpt-5.3", &OPENAI_SMALL),
    ("codex", &OPENAI_SMALL),
    ("gpt-5.4-mini", &OPENAI_SMALL),
    ("gpt-5.4-nano", &OPENAI_SMALL),
    ("gpt-5.4", &OPENAI_5_4),
    ("gpt-5.5", &OPENAI_5_5),
    ("gpt-5.", &OPENAI),
    ("gpt-5", &OPENAI_TILES),
    ("openai/o1", &OPENAI_TILES),
    ("openai/o3", &OPENAI_TILES),
    ("openai/", &OPENAI),
    ("gpt-", &OPENAI),
    ("claude", &ANTHROPIC),
    ("gemini-2.5", &GEMINI_2_5),
    ("gemini-3.1-flash", &GEMINI_3_1_FLASH),
    ("gemini", &GOOGLE),
    ("google/", &GOOGLE),
];

/// Pixels of a side, and patches, of a picture whose size is not said: at most.
const UNSAID_SIDE: u64 = 4_096;
/// Tiles of the same: at least, expected, at most.
const UNSAID_TILES: Range = [1, 4, 8];
/// Pixels of the long side that "high" keeps.
const HIGH_SIDE: u64 = 2_048;
/// Patches of a picture that is sent with low detail.
const LOW_PATCHES: u64 = 256;
/// Sizes that are made where none is said: what a square, and what half as much again comes to.
const UNSAID_SIZES: [Size; 2] = [(1_024, 1_024), (1_024, 1_536)];

/// Pixels of a side of the tiles that Gemini cuts pictures into, before its third generation.
const TILE_SIDE: u64 = 768;

/// Tokens of the smallest picture or page at a low media resolution.
const LOW_RESOLUTION: u64 = 64;

impl MediaResolution {
    /// Tokens of a picture, of a frame of video and of a page, as Gemini 3 counts them. "Media
    /// resolution".
    const fn tokens(self) -> (u64, u64, u64) {
        match self {
            Self::Low => (280, 70, 280),
            Self::Medium => (560, 70, 560),
            Self::High => (1_120, 280, 1_120),
            Self::UltraHigh => (2_240, 280, 1_120),
        }
    }
}

/// A range that another quantity is expected of, as far as it allows that.
fn expecting([least, _, most]: Range, expected: u64) -> Range {
    [least, expected.clamp(least, most), most]
}

impl Media {
    pub(super) fn of(model: &str) -> &'static Self {
        let model = model.to_ascii_lowercase();
        NAMES.iter().find(|(part, _)| model.contains(part)).map_or(&OTHER, |(_, media)| media)
    }

    /// Tokens of one picture that is read, by width and height in pixels where they are known.
    pub(super) fn image(&self, size: Option<(u32, u32)>, detail: Detail) -> Range {
        let size = size.map(|(width, height)| (u64::from(width), u64::from(height)));
        match &self.read {
            Reading::Area { any: [least, expected, most], pixels, tiles, tile } => {
                let cut = size.map_or(0, |(width, height)| {
                    width.div_ceil(TILE_SIDE) * height.div_ceil(TILE_SIDE) * tile
                });
                let ever = cut.max(*most);
                if let Detail::Level(level) = detail {
                    // What it comes to depends on the generation, and hardly on the size.
                    return expecting([LOW_RESOLUTION.min(*least), 0, ever], level.tokens().0);
                }
                let Some((width, height)) = size else { return [*least, *expected, *most] };
                let [low, middle, high] = pixels.map(|a_token| width * height / a_token);
                // Large pictures are scaled down, how far depends on the model.
                let low = low.clamp(*least, expected / 2);
                let middle = middle.clamp(low, (*most).min(3 * expected));
                [low, middle, (high + tiles).clamp(middle, ever)]
            }
            Reading::Tiles { picture, tile } => {
                let tiles = size.map_or(UNSAID_TILES, tiles);
                let all = |n: usize| picture[n] + tile[n] * tiles[n];
                match detail {
                    Detail::Low => *picture,
                    Detail::High | Detail::Original => [all(0), all(1), all(2)],
                    // The model may take it for one of low detail.
                    Detail::Auto | Detail::Level(_) => [picture[0], all(1), all(2)],
                }
            }
            Reading::Patches { high, original, thousandths } => {
                let patches = patches(size, detail, *high, original.as_ref());
                std::array::from_fn(|n| (patches[n] * thousandths[n]).div_ceil(1_000))
            }
        }
    }

    pub(super) const fn audio_in(&self) -> Range {
        self.audio_in
    }

    pub(super) const fn audio_out(&self) -> Range {
        self.audio_out
    }

    /// Tokens of a frame of video.
    pub(super) fn frame(&self, resolution: Option<MediaResolution>) -> Range {
        resolution.map_or(self.frame, |level| expecting(self.frame, level.tokens().1))
    }

    /// Tokens of a page of a document.
    pub(super) fn page(&self, resolution: Option<MediaResolution>) -> Range {
        let [least, _, most] = self.page;
        let any = [LOW_RESOLUTION.min(least), 0, most];
        resolution.map_or(self.page, |level| expecting(any, level.tokens().2))
    }

    /// Tokens of one picture that is made.
    pub(super) fn made(&self, quality: Option<&str>, size: Option<&str>) -> Range {
        let qualities = match quality {
            Some("low") => 0..=0,
            Some("medium" | "standard") => 1..=1,
            Some("high" | "hd") => 2..=2,
            _ => 0..=2,
        };
        let expected = if qualities.clone().count() == 1 { *qualities.start() } else { 1 };
        let size = size.and_then(pixels);
        let sizes = size.as_ref().map_or(&UNSAID_SIZES[..], std::slice::from_ref);
        let of = |quality: usize, size: Size| match &self.made {
            Making::Quality(squares) => {
                let (width, height) = size;
                let square = width == height;
                // Hundredths of a square of 1,024 pixels: what is smaller is not known to be less.
                let larger = (width * height * 100 / (1_024 * 1_024)).max(100);
                let shape = if square { 100 } else { 150 };
                squares[quality].map(|tokens| tokens * larger.max(shape) / 100)
            }
            Making::Axes(percents) => percents.map(|p| axes(quality, size) * p / 100),
            Making::Steps(steps) => {
                let (width, height) = size;
                let step = steps.iter().find(|(pixels, _)| width * height <= *pixels);
                step.map_or([0; 3], |(_, range)| *range)
            }
        };
        let every = || qualities.clone().flat_map(|q| sizes.iter().map(move |size| (q, *size)));
        let least = every().map(|(q, size)| of(q, size)[0]).min().unwrap_or(0);
        let most = every().map(|(q, size)| of(q, size)[2]).max().unwrap_or(0);
        let [_, middle, _] = of(expected, sizes[0]);
        [least.min(middle), middle, most.max(middle)]
    }
}

/// The calculator of `gpt-image-2`: as many steps on the long side as the quality has, in proportion
/// on the short side, and a factor for the area.
fn axes(quality: usize, (width, height): Size) -> u64 {
    let (long, short) = (width.max(height).max(1), width.min(height));
    let steps = [16, 48, 96][quality];
    let across = (2 * steps * short + long) / (2 * long);
    (steps * across * (2_000_000 + width * height)).div_ceil(4_000_000)
}

/// Tiles of 512 pixels: at least, expected, at most.
fn tiles((width, height): Size) -> Range {
    let (long, short) = (width.max(height).max(1), width.min(height).max(1));
    // Into the square of 2,048 pixels first, then the short side to 768, both but down.
    let (long, short) = match long {
        0..=2_048 => (long, short),
        _ => (2_048, (short * 2_048).div_ceil(long)),
    };
    let (long, short) = match short {
        0..=768 => (long, short),
        _ => ((long * 768).div_ceil(short), 768),
    };
    let tiles = long.div_ceil(512) * short.div_ceil(512);
    // Rounding may leave a row of pixels out.
    let least = (long - 1).div_ceil(512).max(1) * (short - 1).div_ceil(512).max(1);
    [least, tiles, tiles]
}

/// Patches of 32 pixels: at least, expected, at most.
fn patches(size: Option<Size>, detail: Detail, high: u64, original: Option<&Original>) -> Range {
    let count = |(width, height): Size| width.div_ceil(32) * height.div_ceil(32);
    let whole = count(size.unwrap_or((UNSAID_SIDE, UNSAID_SIDE)));
    let within = |most: u64| {
        if whole > most {
            // Whole patches of a shape leave up to a fifth of the budget unused.
            [most * 4 / 5, most * 19 / 20, most]
        } else {
            [whole; 3]
        }
    };
    let as_high = || {
        let Some((width, height)) = size.filter(|(w, h)| *w.max(h) > HIGH_SIDE) else {
            return within(high);
        };
        let long = width.max(height);
        let scaled = (width * HIGH_SIDE / long, height * HIGH_SIDE / long);
        let [low, middle, most] = within(high);
        let scaled = count((scaled.0.max(1), scaled.1.max(1)));
        [low.min(scaled * 4 / 5), middle.min(scaled), most]
    };
    let [low, middle, most] = match (detail, original) {
        // Models without "original" are known to take a picture of low detail for one of high.
        (Detail::Low, None) => [whole.min(LOW_PATCHES), whole.min(LOW_PATCHES), as_high()[2]],
        (Detail::Low, Some(_)) => [whole.min(LOW_PATCHES), LOW_PATCHES, LOW_PATCHES],
        (Detail::Original, Some(original)) => within(original.patches),
        (Detail::Auto, Some(original)) if original.is_default => within(original.patches),
        _ => as_high(),
    };
    if size.is_some() { [low, middle, most] } else { [1, middle.min(1_500), most] }
}

/// The pixels of a size: `1024x1536`, or `2K`.
pub(super) fn pixels(size: &str) -> Option<Size> {
    let square = match size {
        "512" | "512p" | "0.5K" | "0.5k" => Some(512),
        "1K" | "1k" => Some(1_024),
        "2K" | "2k" => Some(2_048),
        "4K" | "4k" => Some(4_096),
        _ => None,
    };
    if let Some(side) = square {
        return Some((side, side));
    }
    let (width, height) = size.split_once('x')?;
    let side = |text: &str| text.parse::<u16>().ok().filter(|side| *side > 0).map(u64::from);
    Some((side(width)?, side(height)?))
}
