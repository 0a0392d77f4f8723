use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::json;
use uc_domain::ratios::Per;

use super::*;
use crate::costs::{CostRow, ModelCosts, Omitted, ProviderCosts};
use crate::{Calculation, calculate};

/// A calculation of one model with these names.
fn calculation(id: &str, name: &str, provider: &str, amount: Decimal) -> Calculation {
    let row = CostRow {
        dimension: "requests".to_owned(),
        amount,
        per: Per::ONE,
        when: serde_json::from_value(json!({"quality": "=1+1", "size": "a\",b"})).unwrap(),
    };
    let model = ModelCosts {
        provider: provider.to_owned(),
        name: Some(name.to_owned()),
        feature: "-tool".to_owned(),
        aliases: Vec::new(),
        starts_with: Vec::new(),
        costs: vec![row],
    };
    let omitted = Omitted {
        model: "=HYPERLINK(\"http://example.com\")".to_owned(),
        field: None,
        reason: "\u{1}".repeat(2_000),
    };
    let costs = ProviderCosts {
        currency: "USD".to_owned(),
        features: BTreeMap::from([("-tool".to_owned(), Vec::new())]),
        parts: BTreeMap::new(),
        models: BTreeMap::from([(id.to_owned(), model)]),
        omitted: vec![omitted],
    };
    let settings = json!({
        "credit_price": {"amount": "0.001", "currency": "USD"}, "margins": {"default": "0.5"},
    });
    calculate(&costs, &serde_json::from_value(settings).unwrap()).unwrap()
}

#[test]
fn texts_that_are_no_formulas() {
    for text in ["=1", "+1", "-1", "@a", " =1", "\t1", "\r", "\n", "＝1", "－1"] {
        assert!(like_a_formula(text), "{text:?}");
    }
    for text in ["", "a", "1=1", "'=1", "a@b", "{\"=\"}"] {
        assert!(!like_a_formula(text), "{text:?}");
    }
}

#[test]
fn csv_is_quoted_and_has_no_formulas() {
    let calculation = calculation("@cf/a-1", "=1+1", "=cmd|' /C calc'!A1", Decimal::new(25, 3));
    let mut expected = "model,provider,feature,dimension,conditions,per,currency,cost,margin,ratio,\
        price,effective_margin,note\n\
        '@cf/a-1,'=cmd|' /C calc'!A1,'-tool,requests,\
        \"{\"\"quality\"\":\"\"=1+1\"\",\"\"size\"\":\"\"a\\\"\",b\"\"}\",1,USD,0.025,0.5,50,0.05,0.5,\n\
        \"'=HYPERLINK(\"\"http://example.com\"\")\",,,,,,,,,,,,"
        .to_owned();
    expected.extend([&" ".repeat(2_000), "\n"]);
    assert_eq!(csv(&calculation), expected);
}

#[test]
fn equal_calculations_give_equal_workbooks() {
    // Also the smallest and largest of numbers find their cells.
    for amount in [Decimal::ZERO, Decimal::new(1, 28), Decimal::new(5, 1), Decimal::new(400_000, 0)]
    {
        // Names that a cell could take for something else.
        for id in ["nan", "1e5", "TRUE", "+a"] {
            let calculation = calculation(id, "=1+1", "@p", amount);
            assert_eq!(calculation.models.len(), 1);
            let workbook = || workbook(&calculation).unwrap();
            assert_eq!(workbook(), workbook());
        }
    }
}
