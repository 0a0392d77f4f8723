//! What pictures and sounds come to, by who makes the model. Facts of the providers' public guides,
//! widened where a guide leaves open which of several rules holds for a model.

/// Tokens: least, expected, most.
pub(super) type Range = [u64; 3];

/// How a provider counts pictures and sounds.
pub(super) struct Media {
    /// Tokens of one picture that is read, whatever its size.
    image: Range,
    /// Pixels of a read picture to a token: most, expected, least. Within [`image`](Self::image).
    pixels: [u64; 3],
    /// Tokens of a second of sound that is heard.
    audio_in: Range,
    /// Tokens of a second of sound that is spoken.
    audio_out: Range,
    /// Tokens of one picture that is made: of low, medium, high quality; of any.
    made: [Range; 4],
}

/// "Images and vision" (tiles of 512 pixels: 85 + 170 each; or patches of 32 pixels, at most 1,536,
/// times up to 2.46), "Realtime and audio" (a token for 100 ms heard, for 50 ms spoken), "Image
/// generation" (272, 1,056, 4,160 tokens a square, half as much again for other shapes).
static OPENAI: Media = Media {
    image: [70, 1_105, 3_800],
    pixels: [3_000, 950, 400],
    audio_in: [9, 10, 12],
    audio_out: [18, 20, 24],
    made: [[190, 272, 420], [700, 1_056, 1_600], [2_800, 4_160, 6_300], [190, 1_056, 6_300]],
};

/// The small GPT-4o counts a picture 33 times as high, so that it costs what it costs elsewhere.
static OPENAI_4O_MINI: Media =
    Media { image: [2_833, 25_501, 48_200], pixels: [100, 37, 18], ..OPENAI };

/// "Vision": width times height by 750, at most about 1,600, since Opus 4.7 about 4,800.
static ANTHROPIC: Media = Media { image: [50, 1_400, 4_800], pixels: [800, 750, 500], ..OTHER };

/// "Understand and count tokens": 258 a picture or tile of 768 pixels, since Gemini 3 up to 2,240 by
/// the media resolution; 32 tokens a second of sound, 25 spoken; 1,120 to 2,520 a picture made.
static GOOGLE: Media = Media {
    image: [66, 1_120, 2_600],
    pixels: [12_000, 2_300, 500],
    audio_in: [25, 32, 34],
    audio_out: [24, 25, 34],
    made: [[740, 1_120, 2_600]; 4],
};

static OTHER: Media = Media {
    image: [64, 1_100, 4_800],
    pixels: [3_000, 750, 400],
    audio_in: [7, 20, 50],
    audio_out: [12, 25, 50],
    made: [[190, 1_000, 6_300]; 4],
};

/// What a model's name contains; the first that fits counts.
static NAMES: &[(&str, &Media)] = &[
    ("gpt-4o-mini", &OPENAI_4O_MINI),
    ("openai/", &OPENAI),
    ("gpt-", &OPENAI),
    ("claude", &ANTHROPIC),
    ("gemini", &GOOGLE),
    ("google/", &GOOGLE),
];

impl Media {
    pub(super) fn of(model: &str) -> &'static Self {
        let model = model.to_ascii_lowercase();
        NAMES.iter().find(|(part, _)| model.contains(part)).map_or(&OTHER, |(_, media)| media)
    }

    /// Tokens of one picture that is read, by width and height in pixels where they are known.
    pub(super) fn image(&self, size: Option<(u32, u32)>) -> Range {
        let [least, expected, most] = self.image;
        let Some((width, height)) = size else { return self.image };
        let pixels = u64::from(width) * u64::from(height);
        let [low, middle, high] = self.pixels.map(|a_token| pixels / a_token);
        // Large pictures are scaled down, how far depends on the model.
        let low = low.clamp(least, expected / 2);
        let middle = middle.clamp(low, most);
        // A small picture may still count as a whole tile of each kind.
        [low, middle, (high + 300).clamp(middle, most)]
    }

    pub(super) const fn audio_in(&self) -> Range {
        self.audio_in
    }

    pub(super) const fn audio_out(&self) -> Range {
        self.audio_out
    }

    /// Tokens of one picture that is made.
    pub(super) fn made(&self, quality: Option<&str>) -> Range {
        let [low, medium, high, any] = self.made;
        match quality {
            Some("low") => low,
            Some("medium" | "standard") => medium,
            Some("high" | "hd") => high,
            _ => any,
        }
    }
}
