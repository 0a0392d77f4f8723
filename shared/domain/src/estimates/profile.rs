//! [`Profile`]: what of a text decides how many tokens it comes to.

/// Letters of a word that cost nothing beyond the word itself.
const FREE_LETTERS: u64 = 4;
/// A longer run of letters is no word of a language.
const LONGEST_WORD: u64 = 20;
/// Letters of the longest of the commonest words.
const LONGEST_COMMON: usize = 5;

/// The commonest words of English, sorted. Where they are a sixth of the words, a text is English.
static COMMON: [&[u8]; 57] = [
    b"a", b"about", b"all", b"an", b"and", b"are", b"as", b"at", b"be", b"but", b"by", b"can",
    b"for", b"from", b"has", b"have", b"he", b"her", b"his", b"i", b"if", b"in", b"is", b"it",
    b"its", b"me", b"my", b"no", b"not", b"of", b"on", b"one", b"or", b"our", b"she", b"so",
    b"than", b"that", b"the", b"their", b"them", b"they", b"this", b"to", b"up", b"us", b"was",
    b"we", b"what", b"when", b"which", b"who", b"will", b"with", b"would", b"you", b"your",
];

/// How much a text has of each kind of character. It can't be turned back into the text.
///
/// Byte-pair tokenizers cut a text into words, numbers and marks before they merge, so these are
/// what is counted. tests/corpus/calibrate.py counts alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Profile {
    units: [u64; Profile::UNITS],
    characters: u64,
}

/// The kinds of units, in the order of [`Profile::units`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Unit {
    /// The text itself, where it is not empty.
    Texts,
    /// Words in Latin letters; `camelCase` is one.
    Words,
    /// Further humps of such words.
    Humps,
    /// Letters of a word or hump beyond the fourth.
    Letters,
    /// Letters that are in no word: capitals in a row, between digits, in endless runs.
    Dense,
    /// ASCII digits.
    Digits,
    /// ASCII punctuation.
    Marks,
    /// ASCII punctuation right behind other punctuation.
    MoreMarks,
    /// White space but single spaces between words.
    Blanks,
    /// Marks, blanks and symbols that repeat the character before.
    Repeats,
    /// Latin letters beyond ASCII (in addition to the word that they are in).
    Accented,
    /// Cyrillic and Greek letters.
    Cyrillic,
    /// Arabic, Hebrew and neighbours.
    Arabic,
    /// Scripts of South and South-East Asia, Georgia, Ethiopia and others.
    Indic,
    /// Chinese, Japanese, Korean.
    Cjk,
    /// Emoji, mathematics and the rest of Unicode.
    Symbols,
    /// [`Words`](Self::Words) of a text that is English.
    English,
    /// [`Letters`](Self::Letters) of a text that is English.
    EnglishLetters,
}

/// What one character is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Blank,
    Of(Unit),
}

impl Kind {
    const ACCENTED: Self = Self::Of(Unit::Accented);
    const DIGIT: Self = Self::Of(Unit::Digits);
    const MARK: Self = Self::Of(Unit::Marks);
    const SYMBOL: Self = Self::Of(Unit::Symbols);

    fn of(character: char) -> Self {
        match character {
            'a'..='z' | 'A'..='Z' => Self::Letter,
            '0'..='9' => Self::DIGIT,
            // What Python calls white space: the calibration counts with it.
            ' ' | '\t'..='\r' | '\x1c'..='\x1f' => Self::Blank,
            '\0'..='\x7f' => Self::MARK,
            '\u{d7}' | '\u{f7}' => Self::SYMBOL,
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Self::ACCENTED,
            '\u{370}'..='\u{52f}' | '\u{1f00}'..='\u{1fff}' => Self::Of(Unit::Cyrillic),
            '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' => {
                Self::Of(Unit::Arabic)
            }
            '\u{1100}'..='\u{11ff}'
            | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{20000}'..='\u{3ffff}' => Self::Of(Unit::Cjk),
            '\u{900}'..='\u{10ff}' | '\u{1200}'..='\u{1dff}' => Self::Of(Unit::Indic),
            _ => Self::SYMBOL,
        }
    }

    const fn is_latin(self) -> bool {
        matches!(self, Self::Letter | Self::Of(Unit::Accented))
    }
}

impl Profile {
    /// How many kinds of units there are.
    pub(super) const UNITS: usize = Unit::EnglishLetters as usize + 1;

    /// Reads a text once, from its beginning to its end.
    pub fn of(text: &str) -> Self {
        let mut profile = Self::default();
        if text.is_empty() {
            return profile;
        }
        profile.add(Unit::Texts, 1);
        let mut common = 0;
        let mut before: Option<(char, Kind)> = None;
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            let kind = Kind::of(character);
            profile.characters += 1;
            if kind.is_latin() {
                let mut run = Run::default();
                run.push(character, kind);
                while let Some((next, kind)) =
                    rest.peek().map(|next| (*next, Kind::of(*next))).filter(|(_, k)| k.is_latin())
                {
                    profile.characters += 1;
                    run.push(next, kind);
                    rest.next();
                }
                let digits = |kind: Kind| kind == Kind::DIGIT;
                let touches_digits = before.is_some_and(|(_, kind)| digits(kind))
                    || rest.peek().is_some_and(|next| digits(Kind::of(*next)));
                common += u64::from(profile.add_run(run, touches_digits));
                before = Some((character, Kind::Letter));
                continue;
            }
            let repeats = before.is_some_and(|(previous, before)| {
                // The first letter of a run stands for it and is never a mark or a blank.
                !before.is_latin() && previous == character
            });
            let after = before.map(|(_, kind)| kind);
            match kind {
                Kind::Blank | Kind::MARK | Kind::SYMBOL if repeats => profile.add(Unit::Repeats, 1),
                Kind::MARK if after == Some(Kind::MARK) => profile.add(Unit::MoreMarks, 1),
                Kind::Blank => {
                    let between =
                        character == ' ' && after != Some(Kind::Blank) && rest.peek().is_some();
                    profile.add(Unit::Blanks, u64::from(!between));
                }
                Kind::Of(unit) => profile.add(unit, 1),
                Kind::Letter => unreachable!("letters are read as runs"),
            }
            before = Some((character, kind));
        }
        if common * 6 >= profile.units[Unit::Words as usize] {
            profile.speak_english();
        }
        profile
    }

    /// A text of a language in Latin letters that nobody has shown: `words`, and a hundred of them
    /// have so many letters beyond the fourth, marks and digits.
    pub(super) fn imagined(words: u64, letters: u64, marks: u64, digits: u64) -> Self {
        let mut profile = Self::default();
        let part = |hundredths: u64| words.saturating_mul(hundredths).div_ceil(100);
        profile.add(Unit::Texts, u64::from(words > 0));
        profile.add(Unit::Words, words);
        profile.add(Unit::Letters, part(letters));
        profile.add(Unit::Marks, part(marks));
        profile.add(Unit::Digits, part(digits));
        profile
    }

    /// The same, in English.
    pub(super) fn imagined_english(words: u64, letters: u64, marks: u64, digits: u64) -> Self {
        let mut profile = Self::imagined(words, letters, marks, digits);
        profile.speak_english();
        profile
    }

    /// Unicode scalar values of the text: what providers count as characters.
    pub const fn characters(&self) -> u64 {
        self.characters
    }

    /// Whether the text was empty.
    pub const fn is_empty(&self) -> bool {
        self.units[Unit::Texts as usize] == 0
    }

    /// How many of each [`Unit`], in their order.
    pub(super) const fn units(&self) -> &[u64; Self::UNITS] {
        &self.units
    }

    fn add(&mut self, unit: Unit, count: u64) {
        let units = &mut self.units[unit as usize];
        *units = units.saturating_add(count);
    }

    /// Whether it is one of the commonest words of English.
    fn add_run(&mut self, mut run: Run, touches_digits: bool) -> bool {
        run.end_hump();
        self.add(Unit::Accented, run.accented);
        if touches_digits || run.is_dense {
            self.add(Unit::Dense, run.length);
            return false;
        }
        self.add(Unit::Words, 1);
        self.add(Unit::Humps, run.humps - 1);
        self.add(Unit::Letters, run.letters);
        let length = usize::try_from(run.length).unwrap_or(usize::MAX);
        run.beginning.get(..length).is_some_and(|word| COMMON.binary_search(&word).is_ok())
    }

    fn speak_english(&mut self) {
        for (of_any, of_english) in
            [(Unit::Words, Unit::English), (Unit::Letters, Unit::EnglishLetters)]
        {
            let count = std::mem::take(&mut self.units[of_any as usize]);
            self.add(of_english, count);
        }
    }
}

/// A run of Latin letters while it is read: humps begin at capitals.
#[derive(Default)]
struct Run {
    length: u64,
    /// Its first letters in lower case; what is not ASCII is zero.
    beginning: [u8; LONGEST_COMMON],
    accented: u64,
    humps: u64,
    /// Of the hump that is being read.
    hump: u64,
    hump_is_capital: bool,
    /// Beyond the fourth of each hump so far.
    letters: u64,
    is_dense: bool,
}

impl Run {
    fn push(&mut self, character: char, kind: Kind) {
        let capital = character.is_ascii_uppercase();
        if capital && self.length > 0 {
            self.is_dense |= self.hump == 1 && self.hump_is_capital;
            self.end_hump();
        }
        if self.hump == 0 {
            self.hump_is_capital = capital;
        }
        let place = usize::try_from(self.length).ok();
        if let Some(letter) = place.and_then(|place| self.beginning.get_mut(place))
            && let Ok(ascii) = u8::try_from(character)
        {
            *letter = if ascii.is_ascii() { ascii.to_ascii_lowercase() } else { 0 };
        }
        self.length += 1;
        self.hump += 1;
        self.accented += u64::from(kind == Kind::ACCENTED);
    }

    fn end_hump(&mut self) {
        let lone_capital = self.hump == 1 && self.hump_is_capital && self.length > 1;
        self.is_dense |= lone_capital || self.hump > LONGEST_WORD;
        self.letters += self.hump.saturating_sub(FREE_LETTERS);
        self.humps += 1;
        self.hump = 0;
    }
}
