use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Costs of models: id, provider, feature and rows of dimension, amount, units and conditions.
type Given<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str, u64, Value)]);

fn costs(models: &[Given<'_>]) -> ProviderCosts {
    let model = |(id, provider, feature, rows): &Given<'_>| {
        let rows = rows
            .iter()
            .map(|(dimension, amount, per, when)| CostRow {
                dimension: (*dimension).to_owned(),
                amount: amount.parse().unwrap(),
                per: Per::from_units(*per).unwrap(),
                when: serde_json::from_value(when.clone()).unwrap(),
            })
            .collect();
        let model = ModelCosts {
            provider: (*provider).to_owned(),
            name: None,
            feature: (*feature).to_owned(),
            aliases: vec![format!("{id}-alias")],
            starts_with: vec![format!("{id}-2")],
            costs: rows,
        };
        ((*id).to_owned(), model)
    };
    ProviderCosts {
        currency: "USD".to_owned(),
        features: [("text", "input_tokens"), ("image", "output_images")]
            .map(|(feature, dimension)| (feature.to_owned(), vec![dimension.to_owned()]))
            .into(),
        parts: BTreeMap::new(),
        models: models.iter().map(model).collect(),
        omitted: Vec::new(),
    }
}

fn settings(margins: Value, others: Value) -> CalculatorSettings {
    let mut settings = json!({
        "credit_price": {"amount": "0.001", "currency": "USD"}, "margins": margins,
    });
    settings.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    serde_json::from_value(settings).unwrap()
}

const M: u64 = 1_000_000;

#[test]
fn ratios_and_what_they_earn() {
    let check = |margin: &str, price: &str, amount: &str, per: u64, expected: [&str; 3]| {
        let what = format!("{amount} for {per} at {margin}, a credit for {price}");
        let credit_price = json!({"amount": price, "currency": "USD"});
        let settings =
            settings(json!({ "default": margin }), json!({"credit_price": credit_price}));
        let costs = costs(&[("a", "x", "text", &[("input_tokens", amount, per, Value::Null)])]);
        let calculation = calculate(&costs, &settings).unwrap();
        let row = &calculation.models["a"].rows[0];
        let effective = row.effective_margin.map(|margin| margin.to_string());
        let found = [
            row.ratio.to_string(),
            row.price.to_string(),
            effective.unwrap_or_else(|| "-".to_owned()),
        ];
        assert_eq!(found, expected, "{what}");
    };
    check("0", "1", "1.25", M, ["1.25", "1.25", "0"]);
    check("0.2", "0.001", "2", M, ["2500", "2.5", "0.2"]);
    check("0.3", "0.001", "1.25", M, ["1785.71428572", "1.78571428572", "0.3"]);
    check("0.9999", "1", "1", 1, ["10000", "10000", "0.9999"]);
    check("0.3", "0.001", "0", M, ["0", "0", "-"]);
    // Where the steps are coarse more than the margin remains, never less.
    let step = ["0.000000000001", "0.000000000001", "0.65"];
    check("0.5", "1", "0.00000000000035", M, step);
    check("0", "0.0000000001", "0.0000001", 1, ["1000", "0.0000001", "0"]);
    // More digits than any fixed width: 28 of them over a margin's and a price's.
    let long = "0.0000013333333333333333333333";
    check(
        "0.3333",
        "0.0123456789",
        long,
        1,
        ["0.00016199190188", "0.000001999900005010786332", "0.3333"],
    );
}

#[test]
fn the_margin_of_the_nearest_scope_counts() {
    let margins = json!({"default": "0.1", "features": {"text": "0.2"},
        "providers": {"x": "0.3"}, "models": {"a": "0.4"}});
    let rows: &[_] = &[("input_tokens", "1", M, Value::Null)];
    let costs =
        costs(&[("a", "x", "text", rows), ("b", "x", "text", rows), ("c", "y", "text", rows)]);
    let calculation = calculate(&costs, &settings(margins, json!({}))).unwrap();
    let margins = calculation.models.values().map(|model| model.margin.to_string());
    assert_eq!(margins.collect::<Vec<_>>(), ["0.4", "0.3", "0.2"]);
    assert_eq!(calculation.warnings, []);
}

#[test]
fn the_table_is_complete_and_keeps_the_costs() {
    let mut costs = costs(&[(
        "x/a",
        "x",
        "text",
        &[
            ("input_tokens", "1.5", M, Value::Null),
            ("input_tokens", "3", M, json!({"prompt_tokens": {"gt": 200_000}})),
        ],
    )]);
    let part_of = ["cache_read_tokens", "input_audio_tokens"].map(ToOwned::to_owned);
    costs.parts.insert("cache_read_audio_tokens".to_owned(), part_of.to_vec());
    let settings = settings(
        json!({"default": "0.25"}),
        json!({"minimums": {"default": "0.5"}, "groups": {"default": "1", "pro": "0.9"}}),
    );
    let calculation = calculate(&costs, &settings).unwrap();
    let cost = |amount: &str| json!({"amount": amount, "currency": "USD"});
    let expected = json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1", "pro": "0.9"},
        "features": {"text": {"dimensions": ["input_tokens"]}, "image": {"dimensions": ["output_images"]}},
        "dimensions": {"cache_read_audio_tokens": {"part_of": ["cache_read_tokens", "input_audio_tokens"]}},
        "models": {"x/a": {
            "feature": "text", "name": "x/a", "enabled": true, "aliases": ["x/a-alias"],
            "match": [{"starts_with": "x/a-2"}], "minimum": "0.5",
            "ratios": [
                {"dimension": "input_tokens", "credits": "2000", "per": M, "cost": cost("1.5")},
                {"dimension": "input_tokens", "credits": "4000", "per": M, "cost": cost("3"),
                 "when": {"prompt_tokens": {"gt": 200_000}}},
            ],
        }},
    });
    assert_eq!(calculation.table.to_json(), expected);
}

#[test]
fn least_ratios_also_price_what_costs_nothing() {
    let rows: &[_] = &[
        ("input_tokens", "0", M, Value::Null),
        ("output_tokens", "0", M, Value::Null),
        ("requests", "0.01", 1, Value::Null),
    ];
    let settings = settings(
        json!({"default": "0"}),
        json!({"minimum_ratios": {"input_tokens": {"credits": "0.5", "per": 1000},
            "requests": {"credits": "1", "per": 1}, "pages": {"credits": "1", "per": 1}}}),
    );
    let calculation = calculate(&costs(&[("a", "x", "text", rows)]), &settings).unwrap();
    let ratios = calculation.models["a"].rows.iter().map(|row| row.ratio.to_string());
    assert_eq!(ratios.collect::<Vec<_>>(), ["500", "0", "10"]);
    let pointer = "/minimum_ratios/pages".to_owned();
    assert_eq!(calculation.warnings, [Warning::UnusedSetting { pointer }]);
}

#[test]
fn plans_are_held_against_the_worst_row() {
    let costs = costs(&[
        ("cheap", "x", "text", &[("input_tokens", "1", M, Value::Null)]),
        (
            "dear",
            "x",
            "text",
            &[
                ("input_tokens", "1", M, Value::Null),
                ("output_tokens", "0.0000000000004", M, Value::Null),
            ],
        ),
        ("free", "x", "text", &[("input_tokens", "0", M, Value::Null)]),
    ]);
    let plan = |plan: &str, price: &str, credits: &str, group: &str| {
        let price = json!({"amount": price, "currency": "USD"});
        json!({"plan": plan, "price": price, "credits": credits, "group": group})
    };
    let plans = json!([
        plan("fits", "20", "28571.428571", "default"),
        plan("over", "20", "28571.428572", "default"),
        plan("pro", "20", "20000", "pro"),
        plan("byok", "20", "1", "byok"),
        plan("gift", "0", "1", "default"),
    ]);
    let groups = json!({"default": "1", "pro": "0.5", "byok": "0", "dear": "2"});
    let margins = json!({"default": "0.5", "models": {"dear": "0.3"}});
    let settings = settings(margins, json!({"groups": groups, "plans": plans}));
    let calculation = calculate(&costs, &settings).unwrap();

    let found: Vec<_> = calculation
        .plans
        .iter()
        .map(|plan| {
            let cost = plan.worst.as_ref().unwrap().cost_per_credit;
            let cost = cost.map_or_else(|| "-".to_owned(), |cost| cost.to_string());
            [plan.plan.clone(), plan.affordable.unwrap().to_string(), cost]
        })
        .collect();
    // A credit of dear's first row costs 0.0007, less what the rounding of the ratio gains.
    assert_eq!(
        found,
        [
            ["fits", "28571.428571", "0.000699999999996"],
            ["over", "28571.428571", "0.000699999999996"],
            ["pro", "14285.714285", "0.0014"],
            ["byok", "0", "-"],
            ["gift", "0", "0.000699999999996"],
        ]
    );

    let warnings: Vec<Value> = calculation.warnings.iter().map(|warning| json!(warning)).collect();
    let over = |plan: &str, credits: &str, affordable: &str| {
        json!({"kind": "plan_over_cost", "plan": plan, "model": "dear", "credits": credits,
               "affordable": affordable})
    };
    assert_eq!(
        warnings,
        [
            over("over", "28571.428572", "28571.428571"),
            over("pro", "20000", "14285.714285"),
            over("byok", "1", "0"),
            over("gift", "1", "0"),
            json!({"kind": "free_group", "group": "byok", "models": ["cheap", "dear"]}),
            json!({"kind": "under_cost", "group": "pro", "multiplier": "0.5", "models": ["dear"]}),
        ]
    );
    let worst = |id: &str| calculation.models[id].worst.as_ref().map(|worst| json!(worst));
    let margin =
        |margin: &str| Some(json!({"margin": margin, "group": "pro", "dimension": "input_tokens"}));
    assert_eq!(worst("cheap"), margin("0"));
    assert_eq!(worst("dear"), margin("-0.4"));
    assert_eq!(worst("free"), None);
}

#[test]
fn what_no_table_can_hold_is_listed() {
    let always = Value::Null;
    let row = |amount: &'static str| ("input_tokens", amount, M, always.clone());
    let when = |class: &str| json!({ "service_class": class });
    let sound: &[_] = &[row("1")];
    let mut costs = costs(&[
        ("sound", "x", "text", sound),
        ("sound-alias", "x", "text", sound),
        ("huge", "x", "text", &[row("1"), ("requests", "1000000.001", 1, when("fast"))]),
        ("below", "x", "text", &[row("-1")]),
        ("unpriced", "x", "image", sound),
        ("torn", "x", "text", &[row("1"), row("2")]),
        ("bad id", "x", "text", sound),
        ("other", "x", "video", sound),
    ]);
    costs.omitted.push(Omitted { model: "seen".into(), field: None, reason: "before".into() });
    let calculation = calculate(&costs, &settings(json!({"default": "0"}), json!({}))).unwrap();
    let models: Vec<_> = calculation.table.models().map(uc_domain::ratios::Model::id).collect();
    assert_eq!(models, ["sound-alias"]);
    let found: Vec<_> = calculation
        .omitted
        .iter()
        .map(|omitted| (omitted.model.as_str(), omitted.field.as_deref(), omitted.reason.as_str()))
        .collect();
    let expected = [
        ("seen", None, "before"),
        ("bad id", None, "not a model's id"),
        ("below", Some("input_tokens"), "not negative"),
        ("huge", Some("requests when {\"service_class\":\"fast\"}"), "10^9 credits"),
        ("unpriced", Some("/ratios"), "requires an unconditional ratio"),
        ("other", Some("/feature"), "no feature \"video\""),
        ("sound", Some("/aliases/0"), "\"sound-alias\""),
        ("torn", Some("/ratios/1"), "the same conditions"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((model, field, reason), found) in expected.into_iter().zip(found) {
        assert_eq!((found.0, found.1), (model, field));
        assert!(found.2.contains(reason), "{model}: {}", found.2);
    }
}

#[test]
fn what_is_wrong_as_a_whole_is_an_error() {
    let check = |costs: &ProviderCosts, others: Value, expected: &str| {
        let error = calculate(costs, &settings(json!({"default": "0"}), others)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let euros = json!({"credit_price": {"amount": "1", "currency": "EUR"}});
    check(&costs(&[]), euros, "the costs are in \"USD\", the price of a credit is in \"EUR\"");
    check(&costs(&[]), json!({}), "no model of the costs has a place");
    let mut odd = costs(&[]);
    odd.features.insert("a b".to_owned(), Vec::new());
    check(&odd, json!({}), "/features/a b");
    let mut many = costs(&[("m", "x", "text", &[("input_tokens", "1", M, Value::Null)])]);
    let model = many.models["m"].clone();
    many.models.extend((0..MAX_MODELS).map(|n| (format!("m{n}"), model.clone())));
    check(&many, json!({}), "at most 10000 models, not 10001");
}

#[test]
fn settings_that_change_less_than_they_seem_to_are_warned_of() {
    let costs = costs(&[("a", "x", "text", &[("input_tokens", "1", M, Value::Null)])]);
    let margins = json!({"default": "0", "models": {"x/b": "0.1"}, "providers": {"X": "0.1"}});
    let others = json!({"credit": {"scale": 0, "rounding": "half_up"}});
    let calculation = calculate(&costs, &settings(margins, others)).unwrap();
    let unused = |pointer: &str| Warning::UnusedSetting { pointer: pointer.to_owned() };
    assert_eq!(
        calculation.warnings,
        [
            Warning::RoundedSums { rounding: Rounding::HalfUp },
            unused("/margins/providers/X"),
            unused("/margins/models/x~1b"),
        ]
    );
}

#[test]
fn models_that_were_left_out_and_that_a_rule_catches_are_warned_of() {
    let mut costs = costs(&[("a", "x", "text", &[("input_tokens", "1", M, Value::Null)])]);
    let omit = |model: &str, field: Option<&str>, reason: &str| Omitted {
        model: model.to_owned(),
        field: field.map(str::to_owned),
        reason: reason.to_owned(),
    };
    // The rule is for names that begin with a-2.
    costs.omitted = vec![
        omit("a-2-pro", None, "it can't be read"),
        omit("a-1", None, "it can't be read"),
        omit("a-2-part", Some("field"), "it can't be read"),
        omit("a-2-there", None, "taken over: but for something"),
    ];
    let calculation = calculate(&costs, &settings(json!({"default": "0"}), json!({}))).unwrap();
    let (model, left_out) = ("a".to_owned(), vec!["a-2-pro".to_owned()]);
    assert_eq!(calculation.warnings, [Warning::CaughtByRule { model, left_out }]);
}

/// The next ratio below one, told by the rules for ratios alone.
fn next_below(ratio: Ratio, per: Per) -> Fraction {
    let (mantissa, places) = ratio.parts();
    let (mut mantissa, mut places) = (u128::from(mantissa), i32::from(places));
    while mantissa * 10 <= 1_000_000_000_000 && places < 18 - i32::from(per.exponent()) {
        (mantissa, places) = (mantissa * 10, places + 1);
    }
    while mantissa > 1_000_000_000_000 {
        assert_eq!(mantissa % 10, 0, "at most 12 digits");
        (mantissa, places) = (mantissa / 10, places - 1);
    }
    exact::whole(i128::try_from(mantissa).unwrap() - 1) / exact::ten(places)
}

proptest! {
    /// No margin is undercut, and none is overshot by more than the next ratio down would
    /// undercut it.
    #[test]
    fn margins_hold_to_the_last_digit(
        // Up to 28 digits, most of them few.
        mantissa in prop_oneof![1..10_000_i128, 1..10_i128.pow(28)],
        scale in 0..=28_u32,
        exponent in 0..=12_u8,
        margin in 0..10_000_u16,
        price in prop_oneof![1..100_u64, 1..1_000_000_000_000_u64],
        price_scale in 0..=10_u32,
    ) {
        let amount = Decimal::from_i128_with_scale(mantissa, scale);
        let price = Decimal::from_i128_with_scale(i128::from(price), price_scale).normalize();
        prop_assume!(price <= Decimal::from(1_000_000));
        let asked = Margin::from_ten_thousandths(margin).unwrap();
        let (per, amount_text) = (Per::from_exponent(exponent).unwrap(), amount.to_string());
        let settings = settings(
            json!({ "default": asked }),
            json!({"credit_price": {"amount": price.to_string(), "currency": "USD"}}),
        );
        let row = ("input_tokens", amount_text.as_str(), per.units(), Value::Null);
        // Another that is sold for nothing, for without any model there is no table.
        let free = ("input_tokens", "0", 1, Value::Null);
        let costs = costs(&[("a", "x", "text", &[row]), ("b", "x", "text", &[free])]);
        let calculation = calculate(&costs, &settings).unwrap();

        let remains = exact::whole(10_000 - margin);
        let cost = exact::decimal(amount) * exact::whole(10_000);
        let price = exact::decimal(price);
        // Whether a ratio leaves the margin: cost <= price * (1 - margin), without a division.
        let holds = |ratio: &Fraction| ratio * &price * &remains >= cost;
        let Some(model) = calculation.models.get("a") else {
            prop_assert_eq!(calculation.omitted.len(), 1);
            let unit = exact::whole(1_000_000_000) * exact::ten(i32::from(exponent));
            let most = unit.min(exact::ten(15));
            // The next ratio over the limit is one part in 10^11 above it.
            prop_assert!(!holds(&(most * (exact::whole(1) - exact::ten(-11)))));
            return Ok(());
        };
        let row = &model.rows[0];
        prop_assert!(holds(&exact::ratio(row.ratio)));
        prop_assert!(!holds(&next_below(row.ratio, per)), "{} is not the least", row.ratio);
        prop_assert!(row.effective_margin.unwrap().ten_thousandths() >= i64::from(margin));
        prop_assert_eq!(exact::decimal(row.price.decimal()), exact::ratio(row.ratio) * price);
    }
}
