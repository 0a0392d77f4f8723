//! [`Family`]: models that cut texts into tokens alike, and how many tokens a text comes to.
//!
//! The rows were fitted by tests/corpus/calibrate.py over the texts of tests/corpus, whose tokens were
//! counted by real tokenizers, and widened on both sides; tests/tests/estimates.rs says what share
//! lies within of those, and of texts that were held out.

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
        // A token is at least a byte. (Some tokenizers rewrite a text before they cut it, and put
        // something before it.)
        let bytes = profile.bytes();
        let most = (most.div_ceil(1_000) + 1).min(bytes.saturating_add(bytes / 8 + 3));
        let least = (least / 1_000).max(1).min(most);
        [least, (expected.saturating_add(500) / 1_000).clamp(least, most), most]
    }
}

/// `OpenAI` since GPT-4o: `o200k_base`.
static OPENAI_O200K: Family = Family {
    name: "openai_o200k",
    rows: [
        (0, 266, 1651),
        (799, 1011, 1649),
        (0, 800, 1380),
        (96, 246, 349),
        (0, 2038, 2589),
        (0, 361, 2426),
        (160, 312, 1092),
        (20, 30, 49),
        (240, 1227, 1564),
        (320, 736, 1120),
        (40, 111, 920),
        (40, 251, 1120),
        (0, 30, 573),
        (120, 692, 1139),
        (160, 823, 2240),
        (206, 357, 797),
        (275, 405, 524),
        (266, 391, 613),
        (305, 449, 579),
        (251, 369, 481),
        (270, 398, 735),
        (267, 393, 509),
        (514, 756, 1147),
        (533, 850, 1096),
        (521, 766, 1057),
        (32, 80, 2240),
        (52, 139, 3446),
        (160, 1696, 2390),
        (227, 333, 2240),
        (449, 796, 3360),
        (2398, 3527, 4480),
        (785, 993, 1267),
        (24, 109, 235),
    ],
};

/// `OpenAI` before: `cl100k_base`; its embedding models.
static OPENAI_CL100K: Family = Family {
    name: "openai_cl100k",
    rows: [
        (0, 188, 1687),
        (911, 1196, 1613),
        (0, 800, 1380),
        (96, 312, 620),
        (0, 1883, 2393),
        (0, 1167, 1487),
        (153, 308, 1092),
        (20, 30, 49),
        (240, 1246, 1588),
        (320, 604, 1120),
        (20, 30, 920),
        (40, 232, 1120),
        (0, 30, 572),
        (120, 1194, 1522),
        (160, 997, 2240),
        (392, 683, 1145),
        (740, 1088, 1388),
        (645, 949, 1431),
        (872, 1283, 1634),
        (824, 1212, 1545),
        (1091, 1758, 2439),
        (652, 959, 1224),
        (684, 1006, 1284),
        (800, 1252, 1689),
        (951, 1399, 1873),
        (52, 99, 2239),
        (100, 296, 3446),
        (160, 2765, 3509),
        (1324, 2000, 2240),
        (1366, 2203, 3360),
        (2399, 3528, 4480),
        (792, 1001, 1278),
        (24, 152, 501),
    ],
};

/// Claude 3 to Opus 4.6.
static CLAUDE: Family = Family {
    name: "claude",
    rows: [
        (0, 228, 2254),
        (911, 1278, 2091),
        (0, 800, 1380),
        (96, 369, 716),
        (0, 2122, 2696),
        (0, 717, 1150),
        (160, 359, 1092),
        (20, 30, 49),
        (240, 1263, 1609),
        (320, 983, 1120),
        (20, 30, 920),
        (4, 30, 1120),
        (0, 30, 573),
        (120, 649, 851),
        (160, 337, 2240),
        (337, 528, 938),
        (527, 775, 992),
        (601, 884, 1313),
        (597, 878, 1122),
        (554, 819, 1047),
        (533, 975, 3068),
        (622, 914, 1713),
        (543, 799, 1150),
        (816, 1200, 1530),
        (948, 1394, 2234),
        (204, 453, 3360),
        (200, 539, 4480),
        (160, 2933, 4558),
        (568, 861, 2240),
        (13, 400, 3360),
        (2720, 4000, 4480),
        (773, 978, 1248),
        (24, 208, 647),
    ],
};

/// Claude since Opus 4.7.
static CLAUDE_4_7: Family = Family {
    name: "claude_4_7",
    rows: [
        (0, 701, 2680),
        (911, 1636, 2541),
        (0, 1180, 1504),
        (96, 531, 773),
        (0, 2758, 3501),
        (0, 1424, 1813),
        (160, 788, 1120),
        (20, 30, 94),
        (240, 1134, 1446),
        (320, 1000, 1120),
        (40, 263, 920),
        (13, 30, 1120),
        (0, 71, 1120),
        (120, 481, 668),
        (43, 64, 2240),
        (344, 528, 932),
        (535, 787, 1007),
        (599, 881, 1309),
        (602, 886, 1132),
        (550, 808, 1034),
        (533, 967, 3053),
        (618, 908, 1526),
        (529, 778, 1147),
        (804, 1182, 1506),
        (932, 1371, 2206),
        (204, 448, 3347),
        (200, 523, 4480),
        (160, 2897, 4536),
        (568, 858, 2240),
        (13, 393, 3360),
        (2720, 4000, 4480),
        (911, 1165, 1570),
        (24, 455, 844),
    ],
};

/// Gemini and Gemma.
static GEMINI: Family = Family {
    name: "gemini",
    rows: [
        (0, 277, 1362),
        (811, 1026, 1495),
        (0, 800, 1380),
        (89, 231, 504),
        (0, 1624, 2065),
        (0, 2248, 3004),
        (160, 274, 1092),
        (256, 376, 505),
        (240, 1683, 2141),
        (320, 808, 1120),
        (20, 30, 920),
        (40, 1000, 1120),
        (0, 47, 573),
        (120, 702, 899),
        (160, 431, 2240),
        (194, 372, 694),
        (285, 419, 542),
        (267, 414, 898),
        (380, 558, 718),
        (218, 335, 592),
        (145, 417, 906),
        (224, 330, 480),
        (321, 472, 1282),
        (479, 705, 903),
        (485, 775, 1098),
        (52, 82, 1725),
        (52, 181, 2875),
        (160, 893, 1700),
        (449, 660, 2240),
        (362, 679, 3360),
        (800, 1330, 4480),
        (769, 973, 1242),
        (24, 103, 365),
    ],
};

/// Llama 3.
static LLAMA: Family = Family {
    name: "llama",
    rows: [
        (0, 291, 1652),
        (911, 1220, 1648),
        (0, 800, 1380),
        (96, 307, 552),
        (0, 1960, 3472),
        (0, 1227, 1564),
        (153, 310, 1092),
        (20, 30, 49),
        (240, 1262, 1608),
        (320, 584, 1120),
        (20, 30, 920),
        (40, 241, 1120),
        (0, 30, 573),
        (120, 714, 915),
        (160, 588, 2240),
        (246, 464, 938),
        (295, 433, 560),
        (332, 518, 1228),
        (883, 1298, 1653),
        (434, 638, 819),
        (1091, 1752, 2439),
        (310, 456, 764),
        (446, 656, 1147),
        (533, 875, 1118),
        (496, 743, 1057),
        (52, 79, 2240),
        (100, 302, 3446),
        (160, 2715, 3448),
        (1324, 1960, 2240),
        (1366, 2158, 3360),
        (2398, 3527, 4480),
        (786, 994, 1269),
        (24, 164, 522),
    ],
};

/// Mistral: the sentencepiece vocabulary and Tekken.
static MISTRAL: Family = Family {
    name: "mistral",
    rows: [
        (0, 406, 1906),
        (911, 1203, 1875),
        (0, 800, 1380),
        (75, 275, 640),
        (0, 1974, 2508),
        (0, 1456, 1853),
        (160, 411, 1092),
        (255, 374, 512),
        (240, 1673, 2128),
        (320, 586, 1120),
        (40, 107, 920),
        (40, 1000, 1120),
        (0, 44, 1120),
        (120, 842, 1077),
        (160, 1467, 2240),
        (211, 448, 921),
        (326, 507, 1367),
        (261, 474, 1448),
        (419, 681, 1392),
        (320, 531, 1611),
        (346, 619, 3352),
        (408, 652, 1212),
        (574, 844, 3206),
        (533, 1032, 1394),
        (553, 890, 2261),
        (0, 279, 2270),
        (200, 887, 3451),
        (160, 2550, 5160),
        (280, 491, 2240),
        (454, 1375, 3360),
        (2720, 4000, 4480),
        (833, 1054, 1345),
        (24, 123, 612),
    ],
};

/// `DeepSeek`.
static DEEPSEEK: Family = Family {
    name: "deepseek",
    rows: [
        (0, 147, 1701),
        (911, 1184, 1599),
        (0, 800, 1380),
        (96, 288, 587),
        (0, 2202, 2797),
        (0, 1234, 1572),
        (160, 366, 1092),
        (20, 30, 50),
        (240, 1220, 1555),
        (320, 736, 1120),
        (40, 74, 920),
        (40, 204, 1120),
        (0, 30, 572),
        (120, 916, 1170),
        (160, 1011, 2240),
        (217, 448, 870),
        (353, 519, 668),
        (335, 500, 984),
        (403, 592, 838),
        (463, 681, 872),
        (375, 696, 1323),
        (250, 367, 476),
        (511, 751, 1217),
        (267, 596, 766),
        (621, 914, 1214),
        (52, 82, 2238),
        (52, 135, 2875),
        (160, 1832, 3388),
        (466, 725, 2240),
        (773, 1287, 3360),
        (2073, 3048, 4480),
        (819, 1036, 1322),
        (24, 100, 463),
    ],
};

/// Qwen 2.5 to 3.6.
static QWEN: Family = Family {
    name: "qwen",
    rows: [
        (0, 286, 1687),
        (619, 928, 1613),
        (0, 800, 1380),
        (96, 397, 614),
        (0, 2345, 2978),
        (0, 1254, 1598),
        (160, 282, 1092),
        (254, 374, 485),
        (240, 1809, 2300),
        (320, 655, 1120),
        (20, 30, 920),
        (40, 268, 1120),
        (0, 30, 572),
        (0, 489, 1043),
        (0, 30, 2240),
        (194, 441, 877),
        (320, 499, 1179),
        (248, 471, 979),
        (374, 592, 837),
        (352, 607, 1336),
        (364, 744, 2193),
        (168, 302, 648),
        (400, 606, 1147),
        (267, 633, 812),
        (462, 711, 1052),
        (52, 101, 2239),
        (100, 300, 3446),
        (160, 1528, 3448),
        (589, 977, 2240),
        (476, 1140, 3360),
        (800, 1446, 4480),
        (785, 994, 1268),
        (24, 151, 531),
    ],
};

/// What no other family knows: the widest of all.
static OTHER: Family = Family {
    name: "default",
    rows: [
        (0, 277, 2680),
        (619, 1196, 2541),
        (0, 800, 1504),
        (75, 307, 773),
        (0, 2038, 3501),
        (0, 1234, 3004),
        (153, 312, 1120),
        (20, 30, 512),
        (240, 1262, 2300),
        (320, 736, 1120),
        (20, 30, 920),
        (4, 241, 1120),
        (0, 30, 1120),
        (0, 702, 1522),
        (0, 588, 2240),
        (194, 448, 1145),
        (275, 507, 1388),
        (248, 500, 1448),
        (305, 681, 1653),
        (218, 638, 1611),
        (145, 744, 3352),
        (168, 456, 1713),
        (321, 756, 3206),
        (267, 875, 1689),
        (462, 890, 2261),
        (0, 99, 3360),
        (52, 300, 4480),
        (160, 2550, 5160),
        (227, 858, 2240),
        (13, 1140, 3360),
        (800, 3527, 4480),
        (769, 994, 1570),
        (24, 151, 844),
    ],
};
