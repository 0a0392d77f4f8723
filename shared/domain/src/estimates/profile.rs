//! [`Profile`]: what of a text decides how many tokens it comes to.

/// Letters of a word that cost nothing beyond the word itself.
const FREE_LETTERS: u64 = 4;
/// A longer run of letters is no word of a language.
const LONGEST_WORD: u64 = 20;
/// Letters of the longest of the commonest words.
const LONGEST_COMMON: usize = 5;
/// Letters behind an apostrophe that belong to the word before it.
const LONGEST_SUFFIX: u64 = 2;

/// The commonest words of English, sorted. Where they are a sixth of the words, a text is English.
static COMMON: [&[u8]; 57] = [
    b"a", b"about", b"all", b"an", b"and", b"are", b"as", b"at", b"be", b"but", b"by", b"can",
    b"for", b"from", b"has", b"have", b"he", b"her", b"his", b"i", b"if", b"in", b"is", b"it",
    b"its", b"me", b"my", b"no", b"not", b"of", b"on", b"one", b"or", b"our", b"she", b"so",
    b"than", b"that", b"the", b"their", b"them", b"they", b"this", b"to", b"up", b"us", b"was",
    b"we", b"what", b"when", b"which", b"who", b"will", b"with", b"would", b"you", b"your",
];

/// What words of hardly any language have behind a letter, from `a` to `z`: a quarter of the pairs
/// that random letters make.
static ODD: [&[u8]; 26] = [
    b"",
    b"cfgkmnpqvwxz",
    b"bdfgmnpqvwx",
    b"cfjpqx",
    b"",
    b"bcdghjkmnpqsvwxz",
    b"bcfjmpqvxz",
    b"bcfghjkpqxz",
    b"",
    b"bcdfgjlmpqrtvwxyz",
    b"bcfgpqxz",
    b"bcpqrxz",
    b"cjkqrxz",
    b"bx",
    b"q",
    b"bcdgkmnqvwxz",
    b"bcdfghijklmnpqrstvwxyz",
    b"qx",
    b"bx",
    b"bdfqx",
    b"",
    b"bcdfghjkmpqtvwxz",
    b"bcdfgjkmpqtvwxz",
    b"bdfghjklmnqrsvwxyz",
    b"fjqvxy",
    b"cfjklmpqrsx",
];

/// Whether two letters in lower case are such a pair.
fn is_odd(before: u8, letter: u8) -> bool {
    let row = before.checked_sub(b'a').and_then(|row| ODD.get(usize::from(row)));
    row.is_some_and(|row| row.contains(&letter))
}

/// How much a text has of each kind of character. It can't be turned back into the text.
///
/// Byte-pair tokenizers cut a text into words, numbers and marks before they merge, so these are
/// what is counted. tests/corpus/calibrate.py counts alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    units: [u64; Profile::UNITS],
    characters: u64,
    bytes: u64,
}

impl Default for Profile {
    /// Of no text.
    fn default() -> Self {
        Self { units: [0; Self::UNITS], characters: 0, bytes: 0 }
    }
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
    /// Pairs of letters that words of hardly any language have.
    OddPairs,
    /// One or two letters behind an apostrophe: `don't`, `we'll`.
    Suffixes,
    /// Letters that are in no word: capitals in a row, between digits, in endless runs.
    Dense,
    /// ASCII digits.
    Digits,
    /// Groups of three digits, as many as a number begins.
    Numbers,
    /// ASCII punctuation.
    Marks,
    /// ASCII punctuation right behind other punctuation.
    MoreMarks,
    /// White space but single spaces between words.
    Blanks,
    /// ASCII marks and blanks that repeat the character before.
    Repeats,
    /// Latin letters beyond ASCII (in addition to the word that they are in).
    Accented,
    /// Accents and vowel signs that are characters of their own.
    Combining,
    /// Cyrillic letters.
    Cyrillic,
    /// Greek letters.
    Greek,
    /// Arabic letters.
    Arabic,
    /// Hebrew letters.
    Hebrew,
    /// Devanagari: Hindi, Marathi, Nepali.
    Devanagari,
    /// The scripts of Bengali to Malayalam; Georgian.
    Indic,
    /// Thai.
    Thai,
    /// Kana, and the punctuation of East Asia.
    Kana,
    /// Chinese characters but the rare ones.
    Han,
    /// Korean syllables.
    Hangul,
    /// Quotation marks, dashes and signs of books.
    Typography,
    /// Arrows, mathematics, boxes, old emoji.
    Symbols,
    /// Emoji.
    Pictures,
    /// What is none of these, of two bytes.
    RareTwo,
    /// What is none of these, of three bytes.
    RareThree,
    /// What is none of these, of four bytes.
    RareFour,
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

    fn of(character: char) -> Self {
        Self::Of(match character {
            'a'..='z' | 'A'..='Z' => return Self::Letter,
            // What Python calls white space: the calibration counts with it.
            ' ' | '\t'..='\r' | '\x1c'..='\x1f' => return Self::Blank,
            '0'..='9' => Unit::Digits,
            '\0'..='\x7f' => Unit::Marks,
            '\u{a0}'..='\u{bf}'
            | '\u{2010}'..='\u{2027}'
            | '\u{2030}'..='\u{203a}'
            | '\u{20ac}' => Unit::Typography,
            '\u{d7}' | '\u{f7}' => Unit::Symbols,
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Unit::Accented,
            '\u{300}'..='\u{36f}'
            | '\u{591}'..='\u{5c7}'
            | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}'
            | '\u{6d6}'..='\u{6ed}' => Unit::Combining,
            '\u{370}'..='\u{3ff}' => Unit::Greek,
            '\u{400}'..='\u{45f}' | '\u{490}'..='\u{4ff}' => Unit::Cyrillic,
            '\u{5d0}'..='\u{5f4}' => Unit::Hebrew,
            '\u{600}'..='\u{6ff}' => Unit::Arabic,
            '\u{900}'..='\u{97f}' => Unit::Devanagari,
            '\u{980}'..='\u{d7f}' | '\u{10a0}'..='\u{10ff}' => Unit::Indic,
            '\u{e00}'..='\u{e7f}' => Unit::Thai,
            '\u{3000}'..='\u{30ff}' | '\u{ff01}'..='\u{ff1f}' => Unit::Kana,
            '\u{4e00}'..='\u{9fff}' => Unit::Han,
            '\u{ac00}'..='\u{d7a3}' => Unit::Hangul,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{2bff}' | '\u{fe00}'..='\u{fe0f}' => {
                Unit::Symbols
            }
            '\u{1f000}'..='\u{1faff}' => Unit::Pictures,
            '\u{80}'..='\u{7ff}' => Unit::RareTwo,
            '\u{800}'..='\u{ffff}' => Unit::RareThree,
            '\u{10000}'.. => Unit::RareFour,
        })
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
        let mut profile = Self { bytes: text.len() as u64, ..Self::default() };
        if text.is_empty() {
            return profile;
        }
        profile.add(Unit::Texts, 1);
        let mut common = 0;
        let mut before: Option<(char, Kind)> = None;
        // Of the character before that one.
        let mut earlier: Option<Kind> = None;
        let mut digits: u64 = 0;
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
                let is_digit = |kind: Kind| kind == Kind::DIGIT;
                let touches_digits = before.is_some_and(|(_, kind)| is_digit(kind))
                    || rest.peek().is_some_and(|next| is_digit(Kind::of(*next)));
                let follows_apostrophe = before.is_some_and(|(mark, _)| matches!(mark, '\'' | '’'))
                    && earlier.is_some_and(Kind::is_latin);
                common += u64::from(profile.add_run(run, touches_digits, follows_apostrophe));
                earlier = Some(Kind::Letter);
                before = Some((character, Kind::Letter));
                continue;
            }
            let repeats = before.is_some_and(|(previous, before)| {
                // The first letter of a run stands for it and is never a mark or a blank.
                !before.is_latin() && previous == character
            });
            let after = before.map(|(_, kind)| kind);
            match kind {
                Kind::Blank | Kind::MARK if repeats => profile.add(Unit::Repeats, 1),
                Kind::MARK if after == Some(Kind::MARK) => profile.add(Unit::MoreMarks, 1),
                Kind::Blank => {
                    let between =
                        character == ' ' && after != Some(Kind::Blank) && rest.peek().is_some();
                    profile.add(Unit::Blanks, u64::from(!between));
                }
                Kind::DIGIT => {
                    digits = if after == Some(Kind::DIGIT) { digits + 1 } else { 1 };
                    profile.add(Unit::Digits, 1);
                    profile.add(Unit::Numbers, u64::from(digits % 3 == 1));
                }
                Kind::Of(unit) => profile.add(unit, 1),
                Kind::Letter => unreachable!("letters are read as runs"),
            }
            earlier = after;
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
        profile.add(Unit::Numbers, part(digits));
        // Nobody counted them: they are no limit.
        profile.bytes = u64::MAX;
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

    /// How many bytes the text has in UTF-8.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
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
    fn add_run(&mut self, mut run: Run, touches_digits: bool, follows_apostrophe: bool) -> bool {
        run.end_hump();
        self.add(Unit::Accented, run.accented);
        if touches_digits || run.is_dense {
            self.add(Unit::Dense, run.length);
            return false;
        }
        if follows_apostrophe && run.length <= LONGEST_SUFFIX {
            self.add(Unit::Suffixes, 1);
            return false;
        }
        self.add(Unit::Words, 1);
        self.add(Unit::Humps, run.humps - 1);
        self.add(Unit::Letters, run.letters);
        self.add(Unit::OddPairs, run.odd_pairs);
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
    odd_pairs: u64,
    /// The letter before, in lower case; what is not ASCII is zero.
    before: u8,
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
        let letter = u8::try_from(character).ok().filter(u8::is_ascii).unwrap_or(0);
        let letter = letter.to_ascii_lowercase();
        self.odd_pairs += u64::from(is_odd(self.before, letter));
        self.before = letter;
        let place = usize::try_from(self.length).ok();
        if let Some(place) = place.and_then(|place| self.beginning.get_mut(place)) {
            *place = letter;
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
