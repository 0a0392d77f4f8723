//! The workbook, opened and calculated by LibreOffice, against our own numbers.
//!
//! Ignored unless asked for: `infra/spreadsheet/run` finds or fetches LibreOffice, tells where it
//! is in `UC_SOFFICE`, and runs this.

use std::collections::BTreeMap;
use std::process::Command;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use uc_calculator::costs::{CostRow, ModelCosts, Omitted, ProviderCosts};
use uc_calculator::output::workbook;
use uc_calculator::{Calculation, CalculatorSettings, calculate};
use uc_domain::ratios::Per;

const FEATURES: [&str; 3] = ["text", "image", "=odd"];
const PROVIDERS: [&str; 5] = ["openai", "anthropic", "@cf", "-dash", "=1+1"];
const MODELS: u64 = 400;

/// Deterministic numbers that look random (the constants are Knuth's MMIX generator's).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Costs of every size that tables of providers have, and sizes at the limits of a ratio: up to 13
/// significant digits, to which the workbook is exact.
fn costs() -> ProviderCosts {
    let mut numbers = Numbers(4);
    let mut model = |n: u64| {
        let rows = (0..8).map(|row| {
            let digits = match numbers.below(4) {
                0 => numbers.below(20),
                1 => numbers.below(10_000),
                2 => numbers.below(10_000_000) * 1_000_000 + numbers.below(1_000_000),
                _ => 10_u64.pow(u32::try_from(numbers.below(6)).unwrap()),
            };
            // Below 1,000 for a unit: every model has its place in the table.
            let least = digits.checked_ilog10().unwrap_or_default().saturating_sub(2);
            let scale = least + u32::try_from(numbers.below(10)).unwrap();
            CostRow {
                dimension: format!("dimension_{row}"),
                amount: Decimal::from_i128_with_scale(i128::from(digits), scale),
                per: Per::from_exponent(u8::try_from(numbers.below(3) * 3).unwrap()).unwrap(),
                when: None,
            }
        });
        let costs = rows.collect();
        let model = ModelCosts {
            provider: PROVIDERS[usize::try_from(n).unwrap() % PROVIDERS.len()].to_owned(),
            name: Some(format!("=1+{n}")),
            feature: FEATURES[usize::try_from(n).unwrap() % 2].to_owned(),
            aliases: Vec::new(),
            starts_with: Vec::new(),
            costs,
        };
        (format!("+model/{n}"), model)
    };
    let mut models: BTreeMap<_, _> = (0..MODELS).map(&mut model).collect();
    models.get_mut("+model/0").unwrap().costs.extend(hairs());
    ProviderCosts {
        currency: "USD".to_owned(),
        features: FEATURES[..2].iter().map(|name| ((*name).to_owned(), Vec::new())).collect(),
        parts: BTreeMap::new(),
        models,
        omitted: vec![Omitted {
            model: "=2+3".to_owned(),
            field: Some("@field".to_owned()),
            reason: "-reason".to_owned(),
        }],
    }
}

fn settings(price: &str, margins: Value, others: Value) -> CalculatorSettings {
    let mut settings = json!({
        "credit_price": {"amount": price, "currency": "USD"},
        "margins": margins,
        "groups": {"default": "1", "byok": "0", "pro": "0.85"},
        "minimum_ratios": {"dimension_7": {"credits": "0.07", "per": 1000}},
        "plans": [
            {"plan": "=Pro", "price": {"amount": "20", "currency": "USD"}, "credits": "1000"},
            {"plan": "Cheap", "price": {"amount": "0.07", "currency": "USD"}, "credits": "100000",
             "group": "pro"},
            {"plan": "Own keys", "price": {"amount": "5", "currency": "USD"}, "credits": "1",
             "group": "byok"},
        ],
    });
    settings.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    serde_json::from_value(settings).unwrap()
}

/// Costs whose ratio under the settings "odd" is a whole number of the twelfth digit, or off it by a
/// hair that no double can tell: `a * 10^7 / D` is `whole / D` away from a number of 12 digits.
fn hairs() -> Vec<CostRow> {
    // What "odd" leaves of a price for the cost, times the digits of its price of a credit.
    const D: i128 = 8_763 * 7_919;
    // `INVERSE * 10^7` leaves 1 by D.
    const INVERSE: i128 = 7_150_843;
    assert_eq!(INVERSE * 10_000_000 % D, 1);
    let row = |n: i128| {
        let whole = n % 7 - 3;
        let first = (whole * INVERSE).rem_euclid(D);
        CostRow {
            dimension: format!("hair_{n}"),
            amount: Decimal::from_i128_with_scale(first + (20_000 + 777 * n) * D, 12),
            per: Per::ONE,
            when: None,
        }
    };
    (0..70).map(row).collect()
}

/// A sheet as LibreOffice calculated it.
struct Sheets {
    directory: tempfile::TempDir,
    name: &'static str,
}

impl Sheets {
    fn read(&self, sheet: &str) -> Vec<Vec<String>> {
        let path = self.directory.path().join(format!("{}-{sheet}.csv", self.name));
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_path(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .records()
            .map(|record| record.unwrap().iter().map(ToOwned::to_owned).collect())
            .collect()
    }
}

/// Comma, quotes, UTF-8, from line 1; numbers as they are, not as they look; every sheet.
const AS_CSV: &str = "44,34,76,1,,0,false,false,false,false,false,-1";

/// A workbook in a directory of its own.
fn saved(workbook: &[u8], name: &'static str) -> Sheets {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(format!("{name}.xlsx")), workbook).unwrap();
    Sheets { directory, name }
}

/// Runs LibreOffice with a profile of its own, and these files in it.
fn run_libreoffice(sheets: &Sheets, profile: &[(&str, &str)], arguments: &[&str]) {
    let soffice = std::env::var("UC_SOFFICE").expect("infra/spreadsheet/run sets UC_SOFFICE");
    let directory = sheets.directory.path();
    for (file, content) in profile {
        let path = directory.join("profile/user").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let output = Command::new(soffice)
        .arg(format!("-env:UserInstallation=file://{}/profile", directory.display()))
        .args(["--headless", "--norestore"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("LibreOffice starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Has LibreOffice calculate all formulas of a workbook, whatever results it brings along.
fn calculated_by_libreoffice(workbook: &[u8], name: &'static str) -> Sheets {
    // Without this it shows the results that the file brings along.
    let always = r#"<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load"><prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item>
</oor:items>
"#;
    let sheets = saved(workbook, name);
    let filter = format!("csv:Text - txt - csv (StarCalc):{AS_CSV}");
    let convert = ["--convert-to", &filter, &format!("{name}.xlsx")];
    run_libreoffice(&sheets, &[("registrymodifications.xcu", always)], &convert);
    sheets
}

/// Opens a workbook as people do, and writes a number into the cell beside a label of the inputs:
/// LibreOffice then calculates what depends on that, and else shows what the file brings along.
fn edited_in_libreoffice(
    workbook: &[u8],
    name: &'static str,
    (label, number): (&str, &str),
) -> Sheets {
    let sheets = saved(workbook, name);
    let place = sheets.directory.path().join(name);
    let module = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE script:module PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "module.dtd">
<script:module xmlns:script="http://openoffice.org/2000/script" script:name="Module1" script:language="StarBasic">
Sub Edit
  Dim hidden(0) As New com.sun.star.beans.PropertyValue
  hidden(0).Name = "Hidden"
  hidden(0).Value = True
  place = "file://{place}"
  book = StarDesktop.loadComponentFromURL(place &amp; ".xlsx", "_blank", 0, hidden())
  inputs = book.Sheets.getByName("Inputs")
  For row = 0 To 100
    If inputs.getCellByPosition(0, row).String = "{label}" Then
      inputs.getCellByPosition(1, row).Value = {number}
    End If
  Next
  Dim csv(1) As New com.sun.star.beans.PropertyValue
  csv(0).Name = "FilterName"
  csv(0).Value = "Text - txt - csv (StarCalc)"
  csv(1).Name = "FilterOptions"
  csv(1).Value = "{AS_CSV}"
  book.storeToURL(place &amp; ".csv", csv())
  book.close(True)
End Sub
</script:module>
"#,
        place = place.display(),
    );
    // The first start fills the profile, an empty module among the rest.
    run_libreoffice(&sheets, &[], &["--terminate_after_init"]);
    let profile = [("basic/Standard/Module1.xba", module.as_str())];
    run_libreoffice(&sheets, &profile, &["macro:///Standard.Module1.Edit"]);
    sheets
}

/// The number in a cell; LibreOffice writes margins as percentages.
fn number(cell: &str) -> Option<Decimal> {
    let (digits, percent) = match cell.strip_suffix('%') {
        Some(digits) => (digits, Decimal::new(1, 2)),
        None => (cell, Decimal::ONE),
    };
    let number = digits.parse().or_else(|_| Decimal::from_scientific(digits));
    number.ok().map(|number: Decimal| number * percent)
}

/// Both are the same text, or the same number but for what a cell can't tell: LibreOffice writes 15
/// digits and 20 decimal places. A ratio has 12 and 18, so one that differs at all is found.
#[track_caller]
fn same(cell: &str, expected: &str, what: &str) {
    let equal = match (number(cell), number(expected)) {
        (Some(cell), Some(expected)) => {
            let tolerance = (expected.abs() * Decimal::new(1, 14)).max(Decimal::new(1, 20));
            (cell - expected).abs() <= tolerance
        }
        _ => cell == expected,
    };
    assert!(equal, "{what}: LibreOffice has {cell:?}, we have {expected:?}");
}

/// Holds every number of the workbook against the calculation; says how many there were.
fn compare(sheets: &Sheets, expected: &Calculation) -> usize {
    let mut numbers = 0;
    let mut compare = |cell: &str, expected: &str, what: &str| {
        same(cell, expected, what);
        numbers += 1;
    };
    let models = sheets.read("Models");
    let rows: Vec<_> = expected
        .models
        .iter()
        .flat_map(|(id, model)| model.rows.iter().map(move |row| (id, model, row)))
        .collect();
    assert_eq!(models.len(), rows.len() + 1);
    let lowest = "0.85".parse().unwrap();
    for (cells, (id, model, row)) in models[1..].iter().zip(rows) {
        let what = format!("{id} {}, cost {} for {}", row.dimension, row.cost, row.per.units());
        let margin = |margin: Option<uc_calculator::calculation::EffectiveMargin>| {
            margin.map_or_else(|| "–".to_owned(), |margin| margin.to_string())
        };
        assert_eq!(cells[0], *id);
        assert_eq!(cells[1], model.name.clone().unwrap());
        compare(&cells[7], &row.cost.to_string(), &format!("{what}: cost"));
        compare(&cells[9], &model.margin.to_string(), &format!("{what}: margin"));
        compare(&cells[10], &row.ratio.to_string(), &format!("{what}: ratio"));
        compare(&cells[11], &row.price.to_string(), &format!("{what}: price"));
        let effective = margin(row.effective_margin);
        compare(&cells[12], &effective, &format!("{what}: effective margin"));
        let in_lowest = margin(row.margin_in(lowest));
        compare(&cells[13], &in_lowest, &format!("{what}: margin in the lowest group"));
    }
    let plans = sheets.read("Plans");
    assert_eq!(plans.len(), expected.plans.len() + 1);
    for (cells, plan) in plans[1..].iter().zip(&expected.plans) {
        assert_eq!(cells[0], plan.plan);
        let cost = plan.worst.as_ref().and_then(|worst| worst.cost_per_credit);
        let cost = cost.map_or_else(|| "unbounded".to_owned(), |cost| cost.to_string());
        // Ours is rounded to 12 digits.
        match (number(&cells[5]), number(&cost)) {
            (Some(found), Some(ours)) => {
                assert!((found - ours).abs() <= ours * Decimal::new(1, 11), "{}", plan.plan);
            }
            _ => assert_eq!(cells[5], cost),
        }
        compare(&cells[6], &plan.affordable.unwrap().to_string(), &plan.plan);
        let over = plan.credits > plan.affordable.unwrap();
        assert_eq!(cells[7].starts_with("can cost more"), over, "{}", plan.plan);
    }
    let left_out = sheets.read("Left out");
    assert_eq!(left_out.len(), expected.omitted.len() + 1);
    for (cells, omitted) in left_out[1..].iter().zip(&expected.omitted) {
        let found = [&cells[0], &cells[1], &cells[2]];
        let field = omitted.field.clone().unwrap_or_default();
        assert_eq!(found, [&omitted.model, &field, &omitted.reason]);
    }
    numbers
}

#[test]
#[ignore = "needs LibreOffice: infra/spreadsheet/run"]
fn libreoffice_calculates_what_we_do() {
    let costs = costs();
    let all = [
        ("nice", settings("0.001", json!({"default": "0"}), json!({}))),
        (
            "scopes",
            settings(
                "0.01",
                json!({"default": "0.3", "features": {"text": "0.3333"},
                    "providers": {"@cf": "0.9999", "=1+1": "0.07"},
                    "models": {"+model/1": "0.5", "+model/9": "0"}}),
                json!({}),
            ),
        ),
        ("odd", settings("0.007919", json!({"default": "0.1237"}), json!({}))),
        ("ugly", settings("0.1297", json!({"default": "0.2269"}), json!({}))),
    ];
    let mut numbers = 0;
    for (name, settings) in &all {
        let calculation = calculate(&costs, settings).unwrap();
        let sheets = calculated_by_libreoffice(&workbook(&calculation).unwrap(), name);
        numbers += compare(&sheets, &calculation);
    }
    println!("{numbers} numbers of {} workbooks equal", all.len());
}

#[test]
#[ignore = "needs LibreOffice: infra/spreadsheet/run"]
fn a_changed_input_changes_everything() {
    let costs = costs();
    let before = settings("0.001", json!({"default": "0.2"}), json!({}));
    let margins = json!({"default": "0.45", "features": {"image": "0.6"},
        "providers": {"-dash": "0.1111"}, "models": {"+model/3": "0.75"}});
    let after = settings("0.0125", margins, json!({}));
    let expected = calculate(&costs, &after).unwrap();
    // The inputs of the one, beside the results of the other: so every number was calculated anew.
    let stale = Calculation { settings: after, ..calculate(&costs, &before).unwrap() };
    let sheets = calculated_by_libreoffice(&workbook(&stale).unwrap(), "changed");
    println!("{} numbers follow changed inputs", compare(&sheets, &expected));
}

#[test]
#[ignore = "needs LibreOffice: infra/spreadsheet/run"]
fn an_edited_input_changes_what_follows_from_it() {
    let margins = || json!({"default": "0.2"});
    let least = |credits: &str| {
        let least = json!({"dimension_7": {"credits": credits, "per": 1000}});
        settings("0.001", margins(), json!({"minimum_ratios": least}))
    };
    let costs = costs();
    let before = calculate(&costs, &settings("0.001", margins(), json!({}))).unwrap();
    let before = workbook(&before).unwrap();
    let check = |name, edit, after: &CalculatorSettings| {
        let sheets = edited_in_libreoffice(&before, name, edit);
        compare(&sheets, &calculate(&costs, after).unwrap());
    };
    check("least", ("dimension_7", "0.0001"), &least("0.0001"));
    check("more", ("dimension_7", "20"), &least("20"));
    check("price", ("Price of a credit", "0.003"), &settings("0.003", margins(), json!({})));
}

/// Where the sheet can't know it is above what we say, by one unit of the last digit, never below.
#[test]
#[ignore = "needs LibreOffice: infra/spreadsheet/run"]
fn a_price_of_many_digits_undercuts_nothing() {
    let costs = costs();
    for (name, price) in [("five", "0.0012347"), ("ten", "0.1234567891")] {
        let settings = settings(price, json!({"default": "0.3"}), json!({}));
        let calculation = calculate(&costs, &settings).unwrap();
        let models =
            calculated_by_libreoffice(&workbook(&calculation).unwrap(), name).read("Models");
        let rows = calculation.models.values().flat_map(|model| &model.rows);
        let mut above = 0;
        for (cells, row) in models[1..].iter().zip(rows) {
            let ours: Decimal = row.ratio.to_string().parse().unwrap();
            let found = number(&cells[10]).unwrap();
            assert!(found >= ours, "{name}: {found} undercuts {ours}");
            let finest = Decimal::new(1, 18 - u32::from(row.per.exponent()));
            let unit = finest.max(ours * Decimal::new(1, 11));
            assert!(found - ours <= unit, "{name}: {found} for {ours}");
            above += usize::from(found > ours);
        }
        println!("{name}: {above} of {} ratios above ours", models.len() - 1);
    }
}
