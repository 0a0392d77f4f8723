//! A calculation as a workbook that calculates itself: change a yellow cell, and all follows.
//!
//! Four sheets. `Inputs`: the price of a credit, margins, price groups. `Models`: one line a row of
//! the table, from the cost to the ratio and what it earns. `Plans`: how many credits each can
//! afford. `Left out`: what has no place in the table, and why.
//!
//! **The ratio to the last digit.** Cells are binary floating point with 15 to 17 digits; a ratio
//! is rounded up at 12, so a quotient that is a hair above the exact one must not be rounded up.
//! `Models` does that in four working columns:
//! - *Unrounded*: `x = cost / (1 - margin) / credit price`; its error is below `10^-15 * x`.
//! - *Places*: `s`, so that `x * 10^s` has 12 digits, or fewer at the finest step of a ratio.
//! - *Nearest*: `q`, the integer nearest to `x * 10^s`. Where they are further apart than
//!   `10^-14 * q`, rounding up `x * 10^s` is right. Where not, only the sign of `exact - q` counts.
//! - *Remainder*: that sign. With the cost's digits `a` as an integer below 10^14, and the margin's
//!   and price's digits as an integer `d`, the exact quotient is `a * 10^n / d`. So
//!   `e = a * 10^n - q * d` has that sign and is an integer with `|e| <= 1.1 * 10^-14 * q * d`. With
//!   `q <= 10^12` and `d < 10^8` that is below 1.1 million, so `e` is known from its remainder by
//!   9,999,999: half of that and more is negative. Remainders by a number of seven nines are easy:
//!   10^7 leaves 1, so 10^n leaves 10^(n mod 7), and no product on the way is over 10^14. (With
//!   `n < 0` the same is the remainder of `a - q * d * 10^-n`, which is below 1.1 and so 0.)
//!
//! So the sheet's ratio is this crate's for every cost of up to 13 significant digits and every
//! credit price of up to 4 (`d` is below `10^4 * 10^4`). Beyond that it may be one unit of the
//! twelfth digit more where the quotient is that near to a whole number: the sign is not known, and
//! no margin may be undercut. Margins count with 4 decimal places.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_xlsxwriter::{
    Color, DataValidation, DataValidationRule, DocProperties, ExcelDateTime, Format, FormatBorder,
    Formula, Workbook, Worksheet, XlsxError,
};

use crate::exact::{self, Fraction};
use crate::output::like_a_formula;
use crate::settings::Margin;
use crate::{Calculation, calculation};

/// Rows of a sheet, by the file format.
const MAX_ROWS: usize = 1_048_576;
/// Longer texts are cut: a cell takes 32,767 characters, a reader fewer.
const MAX_TEXT: usize = 1_000;

/// Why there is no workbook.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    /// A sheet has fewer rows than this calculation.
    #[error("{0} rows are more than a sheet can hold: take the CSV, or fewer models")]
    TooManyRows(usize),
    /// The library refused to write.
    #[error("the workbook can't be written")]
    Write(#[from] XlsxError),
}

/// Where things are on the sheet `Inputs`: rows from 0, values in the second column.
mod inputs {
    pub const CREDIT_PRICE: u32 = 2;
    pub const MARGIN: u32 = 3;
    pub const LOWEST_MULTIPLIER: u32 = 5;
    pub const PLACES: u32 = 6;
    pub const DIGITS: u32 = 7;
    pub const EXACT: u32 = 8;
    pub const COSTLIEST: u32 = 9;
    pub const COSTLIEST_MODEL: u32 = 10;
    pub const GROUPS: u32 = 12;
}

/// What a formula gives that gives no number. Not the empty text: `LibreOffice` reads that as 0.
const NONE: &str = "–";
/// What the working columns divide by.
const SEVEN_NINES: i128 = 9_999_999;
/// Significant digits of a cell that matter.
const CELL_DIGITS: i32 = 17;

/// The looks of cells.
struct Looks {
    heading: Format,
    text: Format,
    /// A text that begins like a formula: stays text when it is edited.
    quoted: Format,
    input: Format,
    input_share: Format,
    share: Format,
    number: Format,
    working: Format,
}

impl Looks {
    fn new() -> Self {
        let input = Format::new()
            .set_background_color(Color::RGB(0xFF_F2CC))
            .set_border(FormatBorder::Thin);
        let share = "0.00%";
        Self {
            heading: Format::new().set_bold(),
            text: Format::new(),
            quoted: Format::new().set_quote_prefix(),
            input_share: input.clone().set_num_format(share),
            input,
            share: Format::new().set_num_format(share),
            number: Format::new(),
            working: Format::new().set_font_color(Color::RGB(0x80_8080)),
        }
    }
}

/// One sheet while it is written.
struct Sheet<'a> {
    sheet: &'a mut Worksheet,
    looks: &'a Looks,
}

impl Sheet<'_> {
    fn heading(&mut self, row: u32, titles: &[(&str, f64)]) -> Result<(), XlsxError> {
        for (column, (title, width)) in (0..).zip(titles) {
            self.sheet.write_string_with_format(row, column, *title, &self.looks.heading)?;
            self.sheet.set_column_width(column, *width)?;
        }
        Ok(())
    }

    /// A text from outside: never a formula.
    fn text(&mut self, row: u32, column: u16, text: &str) -> Result<(), XlsxError> {
        let look = if like_a_formula(text) { &self.looks.quoted } else { &self.looks.text };
        if text.chars().nth(MAX_TEXT).is_none() {
            self.sheet.write_string_with_format(row, column, text, look)?;
        } else {
            let cut: String = text.chars().take(MAX_TEXT).chain(['…']).collect();
            self.sheet.write_string_with_format(row, column, cut, look)?;
        }
        Ok(())
    }

    fn number(
        &mut self,
        row: u32,
        column: u16,
        number: impl ToString,
        look: &Format,
    ) -> Result<(), XlsxError> {
        let nearest: f64 = number.to_string().parse().expect("decimals are numbers");
        self.sheet.write_number_with_format(row, column, nearest, look)?;
        Ok(())
    }

    /// A formula, and what it gives: programs that don't calculate show that.
    fn formula(
        &mut self,
        row: u32,
        column: u16,
        formula: impl AsRef<str>,
        result: impl Into<String>,
        look: &Format,
    ) -> Result<(), XlsxError> {
        let formula = Formula::new(formula).set_result(result);
        self.sheet.write_formula_with_format(row, column, formula, look)?;
        Ok(())
    }

    /// A formula of the working columns. What it gives is not in the file, whose size has a limit.
    /// Some programs calculate only what an input changes, `LibreOffice` does: so whatever changes a
    /// formula that uses these columns must change the first of them.
    fn working(&mut self, row: u32, column: u16, formula: String) -> Result<(), XlsxError> {
        let look = &self.looks.working;
        self.sheet.write_formula_with_format(row, column, Formula::new(formula), look)?;
        Ok(())
    }

    /// A cell for a margin; empty where there is none.
    fn margin(&mut self, row: u32, column: u16, margin: Option<Margin>) -> Result<(), XlsxError> {
        let looks = self.looks;
        match margin {
            Some(margin) => self.number(row, column, margin, &looks.input_share),
            None => self.sheet.write_blank(row, column, &looks.input_share).map(|_| ()),
        }
    }

    /// Lets a range of cells take margins alone.
    fn only_margins(&mut self, first: u32, last: u32, column: u16) -> Result<(), XlsxError> {
        let rule = DataValidation::new()
            .allow_decimal_number(DataValidationRule::Between(0.0, 0.9999))
            .set_error_title("Margin")?
            .set_error_message("A margin is a share of the price: from 0% to 99.99%.")?;
        self.sheet.add_data_validation(first, column, last, column, &rule)?;
        Ok(())
    }
}

/// The price of a credit as the working columns use it: `digits * 10^-places`, four digits.
struct CreditPrice {
    exact: Fraction,
    digits: i128,
    places: i32,
}

impl CreditPrice {
    fn new(price: Decimal) -> Self {
        let exact = exact::decimal(price);
        let places = 3 - exact::magnitude(&exact);
        Self { digits: nearest(&exact, places), places, exact }
    }

    fn is_exact(&self) -> bool {
        exact::whole(self.digits) == exact::times(&self.exact, &exact::ten(self.places))
    }
}

/// The integer nearest to `exact * 10^places`; up from the middle.
fn nearest(exact: &Fraction, places: i32) -> i128 {
    // floor(x + 1/2) = floor((floor(2 * x) + 1) / 2)
    let twice = exact::floor(&exact::times(exact, &exact::whole(2)), places);
    (twice.expect("at most 15 digits") + 1).div_euclid(2)
}

/// `Inputs!$B$n` of a row from 0.
fn input(row: u32) -> String {
    format!("Inputs!$B${}", row + 1)
}

/// The workbook as a file in memory.
///
/// # Errors
/// More rows than a sheet can hold.
pub fn workbook(calculation: &Calculation) -> Result<Vec<u8>, WorkbookError> {
    let rows: usize = calculation.models.values().map(|model| model.rows.len()).sum();
    let longest = rows.max(calculation.omitted.len());
    if longest >= MAX_ROWS {
        return Err(WorkbookError::TooManyRows(longest));
    }
    let mut workbook = Workbook::new();
    // Else the file would tell when it was made, and no two would be equal.
    let made = ExcelDateTime::from_ymd(2000, 1, 1)?;
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&made));
    let looks = Looks::new();
    let price = CreditPrice::new(calculation.settings.credit_price.amount.decimal());

    let mut sheet = Sheet { sheet: workbook.add_worksheet(), looks: &looks };
    let places = write_inputs(&mut sheet, calculation, &price, rows)?;
    let mut sheet = Sheet { sheet: workbook.add_worksheet(), looks: &looks };
    write_models(&mut sheet, calculation, &places)?;
    let mut sheet = Sheet { sheet: workbook.add_worksheet(), looks: &looks };
    write_plans(&mut sheet, calculation, &places)?;
    let mut sheet = Sheet { sheet: workbook.add_worksheet(), looks: &looks };
    write_left_out(&mut sheet, calculation)?;
    Ok(workbook.save_to_buffer()?)
}

/// In which rows of `Inputs` the margins and groups are.
#[derive(Default)]
struct Places<'a> {
    groups: BTreeMap<&'a str, u32>,
    least_ratios: BTreeMap<&'a str, u32>,
    features: BTreeMap<&'a str, u32>,
    providers: BTreeMap<&'a str, u32>,
}

fn write_inputs<'a>(
    sheet: &mut Sheet<'_>,
    calculation: &'a Calculation,
    price: &CreditPrice,
    rows: usize,
) -> Result<Places<'a>, XlsxError> {
    let looks = sheet.looks;
    let settings = &calculation.settings;
    sheet.sheet.set_name("Inputs")?;
    sheet.heading(0, &[("Yellow cells are inputs; everything else follows from them.", 48.0)])?;
    sheet.sheet.set_column_width(1, 16)?;

    sheet.text(inputs::CREDIT_PRICE, 0, "Price of a credit")?;
    sheet.number(inputs::CREDIT_PRICE, 1, settings.credit_price.amount, &looks.input)?;
    sheet.text(inputs::CREDIT_PRICE, 2, &settings.credit_price.currency)?;
    sheet.text(inputs::MARGIN, 0, "Margin: the share of a price that remains")?;
    sheet.margin(inputs::MARGIN, 1, Some(settings.margins.default))?;
    sheet.only_margins(inputs::MARGIN, inputs::MARGIN, 1)?;

    let mut places = Places::default();
    let mut next = inputs::GROUPS;
    sheet.heading(next, &[("Price group", 48.0), ("Multiplier", 16.0)])?;
    for (group, multiplier) in &settings.groups {
        next += 1;
        sheet.text(next, 0, group)?;
        sheet.number(next, 1, multiplier, &looks.input)?;
        places.groups.insert(group, next);
    }
    let groups = format!("$B${}:$B${}", inputs::GROUPS + 2, next + 1);
    if !settings.minimum_ratios.is_empty() {
        next += 2;
        let titles = [("Least ratio of a dimension", 48.0), ("Credits", 16.0), ("Per", 16.0)];
        sheet.heading(next, &titles)?;
        for (dimension, least) in &settings.minimum_ratios {
            next += 1;
            sheet.text(next, 0, dimension)?;
            sheet.number(next, 1, least.credits, &looks.input)?;
            sheet.number(next, 2, least.per.units(), &looks.input)?;
            places.least_ratios.insert(dimension, next);
        }
    }
    let models = || calculation.models.values();
    let mut features = BTreeMap::new();
    features.extend(models().map(|model| {
        let feature = model.feature.as_str();
        (feature, settings.margins.of_feature(feature).copied())
    }));
    features.extend(given(&settings.margins.features));
    next = write_margins(sheet, next + 2, "Margin of a feature", &features, &mut places.features)?;
    let mut providers = BTreeMap::new();
    providers.extend(models().map(|model| (model.provider.as_str(), None)));
    providers.extend(given(&settings.margins.providers));
    write_margins(sheet, next + 2, "Margin of a provider", &providers, &mut places.providers)?;

    // What follows from the inputs.
    let lowest = settings.groups.values().filter(|group| group.ten_thousandths() > 0).min();
    sheet.text(inputs::LOWEST_MULTIPLIER, 0, "Lowest multiplier of a group that pays")?;
    sheet.formula(
        inputs::LOWEST_MULTIPLIER,
        1,
        format!("=IFERROR(SMALL({groups},COUNTIF({groups},0)+1),0)"),
        lowest.map_or_else(|| "0".to_owned(), ToString::to_string),
        &looks.number,
    )?;
    let credit_price = format!("$B${}", inputs::CREDIT_PRICE + 1);
    let (digits, exponent) = (inputs::DIGITS + 1, inputs::PLACES + 1);
    sheet.text(inputs::PLACES, 0, "Price of a credit: decimal places of its first 4 digits")?;
    sheet.formula(
        inputs::PLACES,
        1,
        format!("=3-INT(LOG10({credit_price}))"),
        price.places.to_string(),
        &looks.working,
    )?;
    sheet.text(inputs::DIGITS, 0, "Price of a credit: its first 4 digits")?;
    sheet.formula(
        inputs::DIGITS,
        1,
        format!("=ROUND({credit_price}*10^$B${exponent},0)"),
        price.digits.to_string(),
        &looks.working,
    )?;
    sheet.text(inputs::EXACT, 0, "Price of a credit: 1 where it has no other digits")?;
    sheet.formula(
        inputs::EXACT,
        1,
        format!("=IF(ABS($B${digits}/10^$B${exponent}-{credit_price})<=1E-14*{credit_price},1,0)"),
        i32::from(price.is_exact()).to_string(),
        &looks.working,
    )?;
    let last = rows.max(1) + 1;
    let costs = format!("Models!$O$2:$O${last}");
    let costliest = costliest(calculation);
    sheet.text(inputs::COSTLIEST, 0, "Highest cost of a credit, before price groups")?;
    sheet.formula(
        inputs::COSTLIEST,
        1,
        format!("=MAX({costs})"),
        costliest.as_ref().map_or_else(|| "0".to_owned(), |(_, cost)| cell(cost)),
        &looks.number,
    )?;
    sheet.text(inputs::COSTLIEST_MODEL, 0, "Of the model")?;
    let highest = format!("$B${}", inputs::COSTLIEST + 1);
    let model = costliest.as_ref().map_or(NONE, |(model, _)| model);
    // A result that reads as a number would be written as one, and "nan" would break the file.
    let model = if model.parse::<f64>().is_ok() { NONE } else { model };
    sheet.formula(
        inputs::COSTLIEST_MODEL,
        1,
        format!(
            "=IF({highest}=0,\"{NONE}\",INDEX(Models!$A$2:$A${last},MATCH({highest},{costs},0)))"
        ),
        model,
        &looks.text,
    )?;
    Ok(places)
}

/// The margins of the settings.
fn given(margins: &BTreeMap<String, Margin>) -> impl Iterator<Item = (&str, Option<Margin>)> {
    margins.iter().map(|(name, margin)| (name.as_str(), Some(*margin)))
}

/// Writes an input cell for each name, and gives the last row.
fn write_margins<'a>(
    sheet: &mut Sheet<'_>,
    heading: u32,
    title: &str,
    margins: &BTreeMap<&'a str, Option<Margin>>,
    places: &mut BTreeMap<&'a str, u32>,
) -> Result<u32, XlsxError> {
    sheet.heading(heading, &[(title, 48.0), ("Margin", 16.0)])?;
    let mut next = heading;
    for (name, margin) in margins {
        next += 1;
        sheet.text(next, 0, name)?;
        sheet.margin(next, 1, *margin)?;
        places.insert(*name, next);
    }
    if next > heading {
        sheet.only_margins(heading + 1, next, 1)?;
    }
    Ok(next)
}

/// The columns of `Models` and their widths; the formulas name them by letters, from A.
const MODELS: [(&str, f64); 19] = [
    ("Model", 36.0),
    ("Name", 24.0),
    ("Provider", 14.0),
    ("Feature", 10.0),
    ("Dimension", 20.0),
    ("Conditions", 24.0),
    ("Per", 10.0),
    ("Cost", 12.0),
    ("Margin of this row", 12.0),
    ("Margin", 10.0),
    ("Ratio", 16.0),
    ("Price", 16.0),
    ("Effective margin", 12.0),
    ("Margin in the lowest group", 12.0),
    ("Cost of a credit", 16.0),
    ("Unrounded", 12.0),
    ("Places", 8.0),
    ("Nearest", 12.0),
    ("Remainder", 12.0),
];

fn write_models(
    sheet: &mut Sheet<'_>,
    calculation: &Calculation,
    places: &Places<'_>,
) -> Result<(), XlsxError> {
    let looks = sheet.looks;
    let settings = &calculation.settings;
    sheet.sheet.set_name("Models")?;
    sheet.heading(0, &MODELS)?;
    sheet.sheet.set_freeze_panes(1, 1)?;
    let lowest = settings.groups.values().filter(|group| group.ten_thousandths() > 0).min();

    let [credit_price, default, lowest_multiplier, price_places, price_digits, price_exact] = [
        inputs::CREDIT_PRICE,
        inputs::MARGIN,
        inputs::LOWEST_MULTIPLIER,
        inputs::PLACES,
        inputs::DIGITS,
        inputs::EXACT,
    ]
    .map(input);
    let mut row = 0;
    for (id, model) in &calculation.models {
        let margin = model.margin;
        let own_margin = settings.margins.models.get(id).copied();
        let provider = input(places.providers[model.provider.as_str()]);
        let feature = input(places.features[model.feature.as_str()]);
        for line in &model.rows {
            row += 1;
            // As the sheet numbers it.
            let n = row + 1;
            sheet.text(row, 0, id)?;
            sheet.text(row, 1, model.name.as_deref().unwrap_or_default())?;
            sheet.text(row, 2, &model.provider)?;
            sheet.text(row, 3, &model.feature)?;
            sheet.text(row, 4, &line.dimension)?;
            if let Some(when) = &line.when {
                sheet.text(row, 5, &when.to_string())?;
            }
            sheet.number(row, 6, line.per.units(), &looks.number)?;
            sheet.number(row, 7, line.cost, &looks.number)?;
            sheet.margin(row, 8, own_margin)?;
            sheet.formula(
                row,
                9,
                format!(
                    "=IF(ISNUMBER(I{n}),I{n},IF(ISNUMBER({provider}),{provider},\
                     IF(ISNUMBER({feature}),{feature},{default})))"
                ),
                margin.to_string(),
                &looks.share,
            )?;
            let rounded_up = format!(
                "IF(P{n}=0,0,(R{n}+IF(ABS(P{n}*10^Q{n}-R{n})>1E-14*R{n},IF(P{n}*10^Q{n}>R{n},1,0),\
                 IF(OR({price_exact}=0,AND(S{n}>0,S{n}<{half})),1,0)))/10^Q{n})",
                half = SEVEN_NINES / 2 + 1,
            );
            let least = places.least_ratios.get(line.dimension.as_str());
            let least = least.map(|at| (input(*at), format!("Inputs!$C${}", at + 1)));
            let ratio = match &least {
                None => format!("={rounded_up}"),
                Some((least, per)) => format!("=MAX({least}*G{n}/{per},{rounded_up})"),
            };
            // Nothing, but calculated whenever the ratio is.
            let with_least =
                least.map_or_else(String::new, |(least, per)| format!("+0*{least}*{per}"));
            sheet.formula(row, 10, ratio, line.ratio.to_string(), &looks.number)?;
            let result = line.price.to_string();
            sheet.formula(row, 11, format!("=K{n}*{credit_price}"), result, &looks.number)?;
            sheet.formula(
                row,
                12,
                format!("=IF(L{n}=0,\"{NONE}\",INT(ROUND((1-H{n}/L{n})*10000,8))/10000)"),
                line.effective_margin.map_or_else(|| NONE.to_owned(), |margin| margin.to_string()),
                &looks.share,
            )?;
            let in_lowest = lowest.and_then(|group| line.margin_in(*group));
            sheet.formula(
                row,
                13,
                format!(
                    "=IF(L{n}*{lowest_multiplier}=0,\"{NONE}\",\
                     INT(ROUND((1-H{n}/(L{n}*{lowest_multiplier}))*10000,8))/10000)"
                ),
                in_lowest.map_or_else(|| NONE.to_owned(), |margin| margin.to_string()),
                &looks.share,
            )?;
            let result = cost_per_credit(line).map_or_else(|| "0".to_owned(), |cost| cell(&cost));
            sheet.formula(row, 14, format!("=IF(K{n}=0,0,H{n}/K{n})"), result, &looks.number)?;

            sheet.working(
                row,
                15,
                format!(
                    "=IF(H{n}=0,0,H{n}*10000/ROUND((1-J{n})*10000,0)/{credit_price}){with_least}"
                ),
            )?;
            sheet.working(
                row,
                16,
                format!("=IF(P{n}=0,0,MIN(18-ROUND(LOG10(G{n}),0),11-INT(LOG10(P{n}))))"),
            )?;
            sheet.working(row, 17, format!("=ROUND(P{n}*10^Q{n},0)"))?;
            sheet.working(
                row,
                18,
                format!(
                    "=IF(H{n}=0,0,MOD(MOD(ROUND(H{n}*10^(13-INT(LOG10(H{n}))),0),{SEVEN_NINES})\
                     *10^MOD({price_places}+Q{n}-9+INT(LOG10(H{n})),7)-MOD(R{n},{SEVEN_NINES})\
                     *MOD(ROUND((1-J{n})*10000,0)*{price_digits},{SEVEN_NINES}),{SEVEN_NINES}))"
                ),
            )?;
        }
    }
    if row > 0 {
        sheet.only_margins(1, row, 8)?;
        sheet.sheet.autofilter(0, 0, row, 14)?;
    }
    Ok(())
}

fn write_plans(
    sheet: &mut Sheet<'_>,
    calculation: &Calculation,
    places: &Places<'_>,
) -> Result<(), XlsxError> {
    let looks = sheet.looks;
    sheet.sheet.set_name("Plans")?;
    let titles = [
        ("Plan", 24.0),
        ("Price group", 14.0),
        ("Multiplier", 10.0),
        ("Price", 12.0),
        ("Credits", 14.0),
        ("Highest cost of a credit", 20.0),
        ("Most credits it can afford", 22.0),
        ("Verdict", 28.0),
    ];
    sheet.heading(0, &titles)?;
    sheet.sheet.set_freeze_panes(1, 1)?;
    let costliest = input(inputs::COSTLIEST);
    let multipliers = &calculation.settings.groups;
    let exact_costliest = self::costliest(calculation).map(|(_, cost)| cost);
    for (row, plan) in (1..).zip(&calculation.plans) {
        let n = row + 1;
        let group = plan.group.as_str();
        sheet.text(row, 0, &plan.plan)?;
        sheet.text(row, 1, group)?;
        let multiplier = multipliers[group];
        let result = multiplier.to_string();
        let formula = format!("={}", input(places.groups[group]));
        sheet.formula(row, 2, formula, result, &looks.number)?;
        sheet.number(row, 3, plan.price.amount, &looks.input)?;
        sheet.number(row, 4, plan.credits, &looks.input)?;
        let cost = match &exact_costliest {
            None => "0".to_owned(),
            Some(_) if multiplier.ten_thousandths() == 0 => UNBOUNDED.to_owned(),
            Some(cost) => cell(&(cost / calculation::multiplier(multiplier))),
        };
        sheet.formula(
            row,
            5,
            format!("=IF({costliest}=0,0,IF(C{n}=0,\"{UNBOUNDED}\",{costliest}/C{n}))"),
            cost,
            &looks.number,
        )?;
        sheet.formula(
            row,
            6,
            format!(
                "=IF(ISNUMBER(F{n}),IF(F{n}=0,\"any\",INT(ROUND(D{n}/F{n}*1000000,2))/1000000),0)"
            ),
            plan.affordable.map_or_else(|| "any".to_owned(), |credits| credits.to_string()),
            &looks.number,
        )?;
        let over = plan.affordable.is_some_and(|affordable| plan.credits > affordable);
        sheet.formula(
            row,
            7,
            format!(
                "=IF(ISNUMBER(G{n}),IF(E{n}>G{n},\"{OVER_COST}\",\"{AFFORDED}\"),\"{AFFORDED}\")"
            ),
            if over { OVER_COST } else { AFFORDED },
            &looks.text,
        )?;
    }
    Ok(())
}

/// The cost of a credit in a price group that pays nothing.
const UNBOUNDED: &str = "unbounded";
const OVER_COST: &str = "can cost more than it brings";
const AFFORDED: &str = "costs no more than it brings";

fn write_left_out(sheet: &mut Sheet<'_>, calculation: &Calculation) -> Result<(), XlsxError> {
    sheet.sheet.set_name("Left out")?;
    sheet.heading(0, &[("Model", 36.0), ("Field", 36.0), ("Reason", 80.0)])?;
    sheet.sheet.set_freeze_panes(1, 1)?;
    for (row, omitted) in (1..).zip(&calculation.omitted) {
        sheet.text(row, 0, &omitted.model)?;
        sheet.text(row, 1, omitted.field.as_deref().unwrap_or_default())?;
        sheet.text(row, 2, &omitted.reason)?;
    }
    Ok(())
}

/// The model of the first row at which a credit costs most, and that cost, before price groups.
fn costliest(calculation: &Calculation) -> Option<(&str, Fraction)> {
    let mut costliest: Option<(&str, Fraction)> = None;
    for (id, model) in &calculation.models {
        for cost in model.rows.iter().filter_map(cost_per_credit) {
            if cost > exact::whole(0) && costliest.as_ref().is_none_or(|(_, most)| cost > *most) {
                costliest = Some((id, cost));
            }
        }
    }
    costliest
}

/// What a credit costs that is spent on a row; `None` where the row is free.
fn cost_per_credit(row: &calculation::RowCalculation) -> Option<Fraction> {
    let ratio = exact::ratio(row.ratio);
    (ratio > exact::whole(0)).then(|| exact::over(&exact::decimal(row.cost.decimal()), &ratio))
}

/// A number as a cell can hold it.
fn cell(exact: &Fraction) -> String {
    exact::decimal_up(exact, CELL_DIGITS).to_string()
}
