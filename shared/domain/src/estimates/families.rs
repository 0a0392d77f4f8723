//! [`Family`]: models that cut texts into tokens alike, and how many tokens a text comes to.
//!
//! The rows were fitted by tests/corpus/calibrate.py over half of the texts in tests/corpus, whose
//! tokens were counted by real tokenizers, and widened on both sides; tests/tests/estimates.rs says
//! what share of all of them lies within.

use super::Profile;

/// Thousandths of a token that one unit of a [`Profile`] comes to: least, expected, most.
type Row = (u16, u16, u16);

/// Models that share a tokenizer, or tokenizers that are close.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    name: &'static str,
    rows: [Row; Profile::UNITS],
}

/// What a model's name contains, and its family; the first that fits counts. Names are in lower
/// case, of providers, clouds and gateways alike (`us.anthropic.claude-opus-4-6-v1:0`).
static NAMES: &[(&str, &Family)] = &[
    ("claude-2", &OTHER),
    ("claude-3", &CLAUDE),
    ("claude-opus-4-7", &CLAUDE_4_7),
    ("claude-opus-4.7", &CLAUDE_4_7),
    ("claude-opus-4-8", &CLAUDE_4_7),
    ("claude-opus-4.8", &CLAUDE_4_7),
    ("claude-opus-4", &CLAUDE),
    ("claude-sonnet-4", &CLAUDE),
    ("claude-haiku-4", &CLAUDE),
    ("claude-4", &CLAUDE),
    ("claude", &CLAUDE_4_7),
    ("gpt-4o", &OPENAI_O200K),
    ("gpt-4.", &OPENAI_O200K),
    ("gpt-4", &OPENAI_CL100K),
    ("gpt-3", &OPENAI_CL100K),
    ("gpt-35", &OPENAI_CL100K),
    ("text-embedding-3", &OPENAI_CL100K),
    ("text-embedding-ada", &OPENAI_CL100K),
    ("gpt-", &OPENAI_O200K),
    ("openai/o", &OPENAI_O200K),
    ("gemini", &GEMINI),
    ("gemma", &GEMINI),
    ("llama-3", &LLAMA),
    ("llama3", &LLAMA),
    ("mistral", &MISTRAL),
    ("mixtral", &MISTRAL),
    ("ministral", &MISTRAL),
    ("magistral", &MISTRAL),
    ("codestral", &MISTRAL),
    ("devstral", &MISTRAL),
    ("pixtral", &MISTRAL),
    ("voxtral", &MISTRAL),
    ("deepseek", &DEEPSEEK),
    ("qwen", &QWEN),
    ("qwq", &QWEN),
];

impl Family {
    /// The family of a model, by its id in the table.
    pub fn of(model: &str) -> &'static Self {
        let model = model.to_ascii_lowercase();
        // OpenAI's o1, o3 ... without a provider before them.
        let o_series = model
            .strip_prefix('o')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if o_series {
            return &OPENAI_O200K;
        }
        NAMES.iter().find(|(part, _)| model.contains(part)).map_or(&OTHER, |(_, family)| family)
    }

    /// The name in assumptions: `openai_o200k`, `claude`, `default` ...
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How many tokens a text comes to: least, expected, most; in order. Nothing for no text.
    pub fn tokens(&self, profile: &Profile) -> [u64; 3] {
        if profile.is_empty() {
            return [0; 3];
        }
        let mut millis = [0_u64; 3];
        for (count, (least, expected, most)) in profile.units().iter().zip(self.rows) {
            for (sum, row) in millis.iter_mut().zip([least, expected, most]) {
                *sum = sum.saturating_add(count.saturating_mul(u64::from(row)));
            }
        }
        let [least, expected, most] = millis;
        let least = (least / 1_000).max(1);
        let expected = (expected.saturating_add(500) / 1_000).max(least);
        [least, expected, (most.div_ceil(1_000) + 1).max(expected)]
    }
}

/// `OpenAI` since GPT-4o: `o200k_base`.
static OPENAI_O200K: Family = Family {
    name: "openai_o200k",
    rows: [
        (0, 417, 1548),
        (210, 489, 921),
        (418, 894, 1163),
        (200, 392, 565),
        (190, 333, 745),
        (285, 381, 776),
        (495, 798, 1039),
        (355, 572, 748),
        (337, 544, 711),
        (62, 100, 140),
        (434, 700, 913),
        (200, 322, 449),
        (227, 366, 516),
        (241, 393, 2244),
        (487, 804, 1076),
        (1180, 1901, 2460),
        (683, 913, 1187),
        (75, 100, 140),
    ],
};

/// `OpenAI` before: `cl100k_base`; its embedding models.
static OPENAI_CL100K: Family = Family {
    name: "openai_cl100k",
    rows: [
        (0, 100, 1140),
        (384, 637, 1649),
        (274, 586, 766),
        (250, 490, 643),
        (219, 356, 789),
        (292, 391, 893),
        (232, 585, 765),
        (458, 738, 962),
        (254, 409, 538),
        (62, 100, 140),
        (599, 965, 1255),
        (378, 624, 1176),
        (589, 949, 1325),
        (712, 1380, 3353),
        (730, 1226, 1659),
        (1515, 2442, 3156),
        (750, 1003, 1303),
        (56, 100, 160),
    ],
};

/// Claude 3 to Opus 4.6.
static CLAUDE: Family = Family {
    name: "claude",
    rows: [
        (0, 331, 1438),
        (328, 529, 1435),
        (592, 1267, 1643),
        (332, 651, 850),
        (187, 327, 1016),
        (281, 376, 652),
        (655, 1126, 1461),
        (62, 100, 140),
        (340, 548, 717),
        (62, 100, 140),
        (101, 162, 220),
        (291, 468, 826),
        (514, 829, 1079),
        (505, 898, 2017),
        (682, 1109, 1507),
        (1197, 2185, 3477),
        (694, 927, 1206),
        (80, 161, 345),
    ],
};

/// Claude since Opus 4.7.
static CLAUDE_4_7: Family = Family {
    name: "claude_4_7",
    rows: [
        (0, 808, 2051),
        (458, 738, 1830),
        (682, 1458, 1889),
        (443, 868, 1130),
        (519, 836, 1126),
        (272, 363, 591),
        (659, 1198, 1554),
        (228, 368, 485),
        (418, 673, 878),
        (62, 100, 140),
        (22, 100, 140),
        (290, 467, 845),
        (512, 825, 1074),
        (467, 884, 1930),
        (675, 1087, 1498),
        (1093, 2007, 3623),
        (789, 1055, 1369),
        (327, 437, 585),
    ],
};

/// Gemini and Gemma.
static GEMINI: Family = Family {
    name: "gemini",
    rows: [
        (0, 540, 1707),
        (301, 513, 1281),
        (503, 1076, 1397),
        (185, 364, 479),
        (190, 305, 649),
        (796, 1064, 1382),
        (679, 1094, 1421),
        (62, 100, 140),
        (396, 639, 834),
        (62, 100, 140),
        (403, 650, 848),
        (184, 301, 469),
        (239, 388, 609),
        (200, 373, 1339),
        (409, 659, 928),
        (0, 1098, 1425),
        (656, 877, 1141),
        (75, 100, 140),
    ],
};

/// Llama 3.
static LLAMA: Family = Family {
    name: "llama",
    rows: [
        (0, 344, 1454),
        (381, 615, 1564),
        (304, 650, 849),
        (276, 541, 708),
        (212, 363, 785),
        (293, 392, 911),
        (208, 568, 743),
        (467, 752, 980),
        (225, 363, 478),
        (56, 100, 140),
        (187, 301, 399),
        (224, 361, 476),
        (311, 517, 1327),
        (335, 712, 3353),
        (487, 800, 1108),
        (1358, 2189, 2831),
        (752, 1005, 1306),
        (55, 100, 228),
    ],
};

/// Mistral: the sentencepiece vocabulary and Tekken.
static MISTRAL: Family = Family {
    name: "mistral",
    rows: [
        (0, 498, 2921),
        (270, 632, 1918),
        (539, 1153, 1496),
        (232, 467, 613),
        (246, 472, 800),
        (817, 1092, 1418),
        (398, 641, 837),
        (442, 713, 929),
        (411, 663, 1283),
        (62, 100, 140),
        (375, 604, 890),
        (217, 412, 1348),
        (238, 452, 1398),
        (300, 593, 3337),
        (487, 959, 1600),
        (1820, 2932, 3788),
        (770, 1029, 1337),
        (47, 100, 162),
    ],
};

/// `DeepSeek`.
static DEEPSEEK: Family = Family {
    name: "deepseek",
    rows: [
        (0, 233, 1579),
        (416, 703, 1719),
        (418, 894, 1163),
        (210, 412, 542),
        (244, 428, 760),
        (287, 383, 812),
        (510, 821, 1069),
        (282, 455, 597),
        (230, 371, 489),
        (44, 100, 140),
        (447, 738, 961),
        (212, 386, 566),
        (296, 477, 658),
        (256, 564, 2797),
        (243, 608, 927),
        (1206, 1944, 2515),
        (718, 960, 1248),
        (69, 100, 140),
    ],
};

/// Qwen 2.5 to 3.6.
static QWEN: Family = Family {
    name: "qwen",
    rows: [
        (0, 159, 1737),
        (98, 193, 1387),
        (456, 975, 1267),
        (297, 649, 847),
        (196, 355, 719),
        (820, 1097, 1424),
        (383, 617, 806),
        (574, 925, 1203),
        (270, 435, 572),
        (62, 100, 140),
        (245, 395, 520),
        (194, 367, 1130),
        (227, 436, 885),
        (192, 556, 2455),
        (243, 616, 874),
        (533, 859, 2748),
        (740, 989, 1285),
        (60, 100, 215),
    ],
};

/// What no other family knows: the widest of all.
static OTHER: Family = Family {
    name: "default",
    rows: [
        (0, 344, 2921),
        (98, 615, 1918),
        (274, 975, 1889),
        (185, 490, 1130),
        (187, 356, 1126),
        (272, 391, 1424),
        (208, 798, 1554),
        (62, 572, 1203),
        (225, 544, 1283),
        (44, 100, 140),
        (22, 604, 1255),
        (184, 386, 1348),
        (227, 477, 1398),
        (192, 593, 3353),
        (243, 804, 1659),
        (0, 2007, 3788),
        (656, 989, 1369),
        (47, 100, 585),
    ],
};
