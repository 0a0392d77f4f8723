//! Tables of facts, and properties against simple models.

mod model;

use serde_json::{Value, json};

use super::*;

/// A table of two features.
fn base() -> Value {
    json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1", "pro": "0.9", "byok": "0"},
        "features": {
            "text": {"dimensions": ["input_tokens", "output_tokens"]},
            "image": {"dimensions": ["output_images"]}
        },
        "models": {
            "openai/gpt-5.1": {
                "feature": "text", "name": "GPT-5.1", "enabled": true, "aliases": ["gpt-5.1"],
                "match": [{"starts_with": "gpt-5.1-2026"}], "minimum": "0.01",
                "ratios": [
                    {"dimension": "input_tokens", "credits": "1.25", "per": 1_000_000},
                    {"dimension": "input_tokens", "credits": "2.5", "per": 1_000_000,
                     "when": {"prompt_tokens": {"gt": 200_000}}},
                    {"dimension": "input_tokens", "credits": "0.625", "per": 1_000_000,
                     "when": {"service_class": "batch"}},
                    {"dimension": "input_tokens", "credits": "1.26", "per": 1_000_000,
                     "when": {"service_class": "batch", "prompt_tokens": {"gt": 200_000}}},
                    {"dimension": "cache_read_tokens", "credits": "0.125", "per": 1_000_000},
                    {"dimension": "output_tokens", "credits": "10", "per": 1_000_000,
                     "cost": {"amount": "8", "currency": "USD"}}
                ]
            },
            "stability/sd-4": {
                "feature": "image",
                "ratios": [{"dimension": "output_images", "credits": "3", "per": 1}]
            }
        }
    })
}

/// Removes a field or item in an edit.
const GONE: &str = "(gone)";

/// `base` with the values at pointers replaced, added, or removed where they are [`GONE`].
fn edited(edits: &[(&str, Value)]) -> Value {
    let mut table = base();
    for (pointer, value) in edits {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let name = name.replace("~1", "/");
        match table.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
            Value::Object(fields) if value == GONE => drop(fields.remove(&name).unwrap()),
            Value::Object(fields) => drop(fields.insert(name, value.clone())),
            Value::Array(items) if value == GONE => drop(items.remove(name.parse().unwrap())),
            Value::Array(items) if name == "-" => items.push(value.clone()),
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
            other => panic!("{parent} is {other}"),
        }
    }
    table
}

const GPT: &str = "/models/openai~1gpt-5.1";

fn at(edits: &[(&str, Value)]) -> Vec<(String, Value)> {
    edits.iter().map(|(at, value)| (at.replace("GPT", GPT), value.clone())).collect()
}

/// `GPT` in pointers is the first model. Expected: `ok`, or `incomplete` or `invalid` and then a
/// line for every fault: its pointer and a part of its detail.
fn check(edits: &[(&str, Value)], expected: &str) {
    let edits = at(edits);
    let edits: Vec<_> = edits.iter().map(|(at, value)| (at.as_str(), value.clone())).collect();
    let (kind, faults) = match RatioTable::from_json(&edited(&edits)) {
        Ok(_) => ("ok", vec![]),
        Err(TableError::Incomplete(faults)) => ("incomplete", faults),
        Err(TableError::Invalid(faults)) => ("invalid", faults),
    };
    let mut lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
    assert_eq!(Some(kind), lines.next(), "{edits:?} {faults:#?}");
    let lines: Vec<_> = lines.collect();
    assert_eq!(faults.len(), lines.len(), "{edits:?} {faults:#?}");
    for (fault, line) in faults.iter().zip(lines) {
        let (pointer, part) = line.split_once(' ').unwrap_or((line, ""));
        assert_eq!(fault.pointer, pointer.replace("GPT", GPT), "{edits:?} {faults:#?}");
        assert!(fault.detail.contains(part), "{edits:?} {fault:?} has no {part:?}");
    }
}

#[test]
fn incomplete_tables() {
    let null = Value::Null;
    check(&[], "ok");
    check(&[("/groups", json!(GONE))], "incomplete\n/groups missing");
    check(&[("/groups/default", json!(GONE))], "incomplete\n/groups/default missing");
    check(&[("/groups/pro", null.clone())], "incomplete\n/groups/pro null");
    check(&[("/groups", null.clone())], "incomplete\n/groups null");
    check(&[("/models", json!(GONE))], "incomplete\n/models");
    check(&[("GPT/ratios", json!(GONE))], "incomplete\nGPT/ratios missing");
    check(&[("GPT", null.clone())], "incomplete\nGPT");
    // Every missing field at once, and nothing of what else is wrong.
    check(
        &[
            ("/credit/scale", json!(GONE)),
            ("/credit/rounding", null.clone()),
            ("/features/image/dimensions", json!(GONE)),
            ("GPT/feature", json!(GONE)),
            ("GPT/typo", json!(1)),
            ("GPT/ratios/0/credits", null.clone()),
            ("GPT/ratios/1/per", json!(GONE)),
            ("GPT/ratios/2/dimension", json!(GONE)),
            ("GPT/ratios/5/cost/currency", json!(GONE)),
            ("/models/stability~1sd-4/ratios/0/credits", json!("-1")),
        ],
        "incomplete
        /credit/rounding
        GPT/ratios/0/credits
        /credit/scale
        /features/image/dimensions
        GPT/feature
        GPT/ratios/1/per
        GPT/ratios/2/dimension
        GPT/ratios/5/cost/currency",
    );
    // A required dimension without a ratio, with a conditional one only, with an unreadable one.
    check(
        &[("GPT/ratios", json!([]))],
        "incomplete\nGPT/ratios \"input_tokens\"\nGPT/ratios \"output_tokens\"",
    );
    check(
        &[("GPT/ratios/5/when", json!({"service_class": "batch"}))],
        "incomplete\nGPT/ratios \"output_tokens\"",
    );
    check(&[("GPT/ratios/5/credits", json!("x"))], "invalid\nGPT/ratios/5/credits plain decimal");
    check(
        &[("/features/text/dimensions/-", json!("thinking_tokens"))],
        "incomplete\nGPT/ratios \"thinking_tokens\"",
    );
    // Disabled models must be complete as well: they can be enabled by one field.
    check(
        &[("GPT/enabled", json!(false)), ("GPT/ratios/5", json!(GONE))],
        "incomplete\nGPT/ratios",
    );
    check(&[("/models", json!({}))], "ok");
}

#[test]
fn invalid_tables() {
    let one = |at: &str, value: Value, part: &str| {
        check(&[(at, value)], &format!("invalid\n{at} {part}"));
    };
    one("/credits", json!({}), "unknown field");
    one("GPT/Name", json!("x"), "unknown field");
    one("GPT/ratios/0/prices", json!("x"), "unknown field");
    one("/credit", json!([]), "an object, not an array");
    one("/credit/scale", json!(7), "0 to 6");
    one("/credit/scale", json!(-1), "0 to 6");
    one("/credit/scale", json!(2.0), "fraction");
    one("/credit/rounding", json!("nearest"), "half_even");
    for (value, part) in [
        (json!(1), "a string, not a number"),
        (json!("10"), "below 10"),
        (json!("-0.1"), "not negative"),
        (json!("0.00001"), "4 fractional"),
        (json!("1e0"), "plain decimal"),
    ] {
        one("/groups/pro", value, part);
    }
    one("/groups/a,b", json!("1"), "a name has");
    one("/features/text/dimensions/0", json!("Input"), "a dimension has");
    one("/features/text/dimensions/0", json!("prompt_tokens"), "the sum");
    check(
        &[("/features/image/dimensions/-", json!("output_images"))],
        "invalid\n/features/image/dimensions/1 twice",
    );
    one(
        "/models/a,b",
        json!({"feature": "image", "ratios": base()["models"]["stability/sd-4"]["ratios"]}),
        "1 to 128",
    );
    one("GPT/feature", json!("video"), "no feature \"video\"");
    one("GPT/name", json!(""), "1 to 128");
    one("GPT/enabled", json!("yes"), "true or false");
    one("GPT/minimum", json!("-0.01"), "not negative");
    one("GPT/minimum", json!(0), "a string");
    one("GPT/minimum", json!("1000000001"), "10^9");
    one("GPT/minimum", json!("0.0000001"), "6 fractional");
    one("GPT/aliases", json!(vec!["a"; 65]), "at most 64");
    one("GPT/aliases/0", json!("gpt 5"), "1 to 128");
    one("GPT/aliases/0", json!("stability/sd-4"), "already leads to \"stability/sd-4\"");
    one("GPT/aliases/0", json!("openai/gpt-5.1"), "already leads to");
    check(&[("GPT/aliases", json!(["a", "a"]))], "invalid\nGPT/aliases/1 already leads to");
    check(
        &[("/models/stability~1sd-4/aliases", json!(["gpt-5.1"]))],
        "invalid\n/models/stability~1sd-4/aliases/0 already leads to \"openai/gpt-5.1\"",
    );
    check(
        &[("/models/stability~1sd-4/match", json!([{"starts_with": "gpt-5.1-2026"}]))],
        "invalid\n/models/stability~1sd-4/match/0/starts_with already leads to \"openai/gpt-5.1\"",
    );
    one("GPT/match/0/starts_with", json!(""), "1 to 128");
    check(
        &[("GPT/match/0", json!({"ends_with": "x", "starts_with": "y"}))],
        "invalid\nGPT/match/0/ends_with unknown",
    );
    one("GPT/ratios/4", json!("free"), "an object, not a string");
    for (value, part) in [
        (json!(1), "a string, not a number"),
        (json!(1.25), "fraction"),
        (json!("-1"), "not negative"),
        (json!("1e9"), "plain decimal"),
        (json!("NaN"), "plain decimal"),
        (json!("1.234567890123"), "12 significant"),
        (json!("0.0000000000000000001"), "18 fractional"),
        (json!("0.0000000000001"), "together at most 18"),
        (json!("1".repeat(27)), "12 significant"),
        (json!("1".repeat(2_000)), "28 digits"),
    ] {
        one("GPT/ratios/0/credits", value, part);
    }
    for value in [json!(0), json!(-10), json!(1_000), json!(7), json!(10_000_000_000_000_u64)] {
        let expected = if value == json!(1_000) { "ok" } else { "invalid\nGPT/ratios/0/per power" };
        check(&[("GPT/ratios/0/per", value)], expected);
    }
    one("GPT/ratios/0/per", json!(1e6), "fraction or exponent");
    one("GPT/ratios/0/per", json!("1000000"), "integer, not a string");
    one("GPT/ratios/4/dimension", json!("prompt_tokens"), "the sum");
    one("GPT/ratios/4/dimension", json!("cache-read"), "a dimension has");
    one("GPT/ratios/5/cost/amount", json!("-8"), "not negative");
    one("GPT/ratios/5/cost/amount", json!(8), "a string");
    one("GPT/ratios/5/cost/currency", json!("usd"), "capital");
    // All at once.
    check(
        &[("GPT/ratios/0/per", json!(3)), ("/groups/pro", json!("x")), ("GPT/x", json!(0))],
        "invalid\n/groups/pro\nGPT/x\nGPT/ratios/0/per",
    );
}

#[test]
fn conditions() {
    let when = |when: Value, expected: &str| {
        check(&[("GPT/ratios/4/when", when)], &expected.replace("WHEN", "GPT/ratios/4/when"));
    };
    when(json!({}), "invalid\nWHEN leave");
    when(json!("batch"), "invalid\nWHEN an object");
    when(json!({"size": "1024x1024", "quality": "hd"}), "ok");
    when(json!({"size": 1024}), "invalid\nWHEN/size text, or a threshold, not a number");
    when(json!({"size": ""}), "invalid\nWHEN/size 1 to 64");
    when(json!({"size": "a\nb"}), "invalid\nWHEN/size 1 to 64");
    when(json!({"size": "x".repeat(65)}), "invalid\nWHEN/size 1 to 64");
    when(json!({"Size": "a"}), "invalid\nWHEN/Size a name");
    when(json!({"prompt_tokens": "many"}), "invalid\nWHEN/prompt_tokens threshold");
    when(json!({"prompt_tokens": {"gt": 1, "gte": 2}}), "invalid\nWHEN/prompt_tokens either");
    when(json!({"prompt_tokens": {}}), "invalid\nWHEN/prompt_tokens either");
    when(json!({"prompt_tokens": {"lt": 2}}), "invalid\nWHEN/prompt_tokens/lt\nWHEN/prompt_tokens");
    when(json!({"prompt_tokens": {"gt": 1.5}}), "invalid\nWHEN/prompt_tokens/gt fraction");
    when(json!({"prompt_tokens": {"gt": "1.5"}}), "ok");
    when(json!({"prompt_tokens": {"gt": -1}}), "invalid\nWHEN/prompt_tokens/gt negative");
    when(json!({"prompt_tokens": {"gt": 1_000_000_000_000_u64}}), "invalid\nWHEN/prompt_tokens/gt");
    when(json!({"video_seconds": {"gte": 0}}), "invalid\nWHEN/video_seconds/gte at least zero");
    when(json!({"from": "2027-01-01T00:00:00Z", "until": "2027-02-01T00:00:00+01:00"}), "ok");
    when(json!({"from": "2027-01-01"}), "invalid\nWHEN/from RFC 3339");
    let empty = json!({"from": "2027-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"});
    when(empty, "invalid\nWHEN never");
    when(
        json!({"from": "2027-01-01T08:00:00Z", "until": "2027-01-01T10:00:00Z",
               "time_of_day": {"from": "10:00", "until": "08:00"}}),
        "invalid\nWHEN never",
    );
    when(json!({"time_of_day": {"from": "22:00", "until": "06:00"}}), "ok");
    when(
        json!({"time_of_day": {"from": "6:00", "until": "24:00"}}),
        "invalid\nWHEN/time_of_day/from\nWHEN/time_of_day/until",
    );
    when(json!({"weekdays": ["mon", "mon", "x"]}), "invalid\nWHEN/weekdays/1 twice");
    when(json!({"weekdays": ["Monday"]}), "invalid\nWHEN/weekdays/0 one of");
    when(json!({"weekdays": []}), "invalid\nWHEN/weekdays one to six");
    when(json!({"weekdays": "mon"}), "invalid\nWHEN/weekdays an array");
    when(json!({"weekdays": ["mon", "sun"]}), "ok");
    when(
        json!({"from": "2026-11-23T00:00:00Z", "until": "2026-11-24T00:00:00Z",
               "weekdays": ["sun", "tue"]}),
        "invalid\nWHEN never hold",
    );
    when(
        json!({"time_of_day": {"from": "06:00", "until": "06:00"}}),
        "invalid\nWHEN/time_of_day same",
    );
    when(json!({"time_of_day": {"from": "06:00"}}), "incomplete\nWHEN/time_of_day/until");
    let nine: serde_json::Map<_, _> = (0..9).map(|n| (format!("p{n}"), json!("x"))).collect();
    when(nine.into(), "invalid\nWHEN at most 8");
}

#[test]
fn choice_of_row_is_unambiguous() {
    // Rows for output_images; the first has no conditions.
    let rows = |conditions: &[Value], expected: &str| {
        let mut rows = vec![json!({"dimension": "output_images", "credits": "1", "per": 1})];
        for when in conditions {
            let mut row = rows[0].clone();
            row["when"] = when.clone();
            rows.push(row);
        }
        check(
            &[("/models/stability~1sd-4/ratios", json!(rows))],
            &expected.replace("SD", "/models/stability~1sd-4/ratios"),
        );
    };
    let batch = json!({"service_class": "batch"});
    let large = json!({"output_images": {"gt": 10}});
    let both = json!({"service_class": "batch", "output_images": {"gt": 10}});
    rows(&[batch.clone(), large.clone(), both.clone()], "ok");
    rows(&[both, large.clone(), batch.clone()], "ok");
    rows(&[batch.clone(), large.clone()], "invalid\nSD/2 SD/1");
    rows(&[large.clone(), large.clone()], "invalid\nSD/2 same conditions as SD/1");
    // Equal borders written in two ways; different borders are tiers.
    rows(&[large.clone(), json!({"output_images": {"gte": "10.001"}})], "invalid\nSD/2 same");
    rows(&[large.clone(), json!({"output_images": {"gte": 10}})], "ok");
    // Both conditions, but a higher border: between the borders nothing decides.
    rows(
        &[
            batch.clone(),
            large.clone(),
            json!({"service_class": "batch", "output_images": {"gt": 20}}),
        ],
        "invalid\nSD/2 SD/1",
    );
    // Never together.
    rows(&[batch.clone(), json!({"service_class": "flex"})], "ok");
    rows(
        &[json!({"until": "2027-01-01T00:00:00Z"}), json!({"from": "2027-01-01T00:00:00Z"})],
        "ok",
    );
    rows(
        &[json!({"until": "2027-01-02T00:00:00Z"}), json!({"from": "2027-01-01T00:00:00Z"})],
        "invalid\nSD/2 SD/1",
    );
    // Days and nights that overlap twice, and rows for one overlap or both.
    let time = |from: &str, until: &str| json!({"time_of_day": {"from": from, "until": until}});
    let (long_night, long_day) = (time("20:00", "08:00"), time("06:00", "22:00"));
    let (evening, morning) = (time("20:00", "22:00"), time("06:00", "08:00"));
    rows(&[long_night.clone(), long_day.clone(), evening.clone()], "invalid\nSD/2 SD/1");
    rows(&[long_night, long_day, evening, morning], "ok");
    rows(&[time("00:00", "12:00"), time("12:00", "00:00")], "ok");
    // A date window without any hour of the time of day.
    rows(
        &[
            json!({"from": "2027-01-01T01:00:00Z", "until": "2027-01-01T05:00:00Z"}),
            time("05:00", "01:00"),
        ],
        "ok",
    );
    // Since every instant is after the year 2000, this is no condition.
    rows(&[json!({"from": "2000-01-01T00:00:00Z"})], "invalid\nSD/1 same conditions as SD/0");
}

#[test]
fn faults_are_limited() {
    let null = Value::Null;
    let faults = |table: &Value| RatioTable::from_json(table).unwrap_err().faults().to_vec();
    let mut table = base();
    table["features"]["text"]["dimensions"] = json!(vec![null; 2_000]);
    let listed = faults(&table);
    assert_eq!(listed.len(), 1_000);
    assert!(listed[999].detail.ends_with("not listed)"), "{:?}", listed[999]);
    assert!(!listed[998].detail.ends_with("not listed)"));
    // A huge key doesn't come back, and neither do its characters.
    table = base();
    table["models"][format!("\n{}", "x".repeat(100_000))] = json!({"a": null});
    assert!(faults(&table).iter().all(|f| f.pointer.len() < 300 && !f.pointer.contains('\n')));
    assert_eq!(faults(&json!([]))[0].pointer, "");
    assert_eq!(faults(&json!(null))[0].pointer, "");
    let model = base()["models"]["stability/sd-4"].clone();
    table = base();
    for n in 0..10_000 {
        table["models"][format!("m/{n}")] = model.clone();
    }
    assert_eq!(faults(&table)[0].pointer, "/models");
}

#[test]
fn names_lead_to_models() {
    let mut json = base();
    json["models"]["stability/sd-4"]["match"] =
        json!([{"starts_with": "gpt"}, {"starts_with": "gpt-5.1-2026-mini"}]);
    json["models"]["old/gpt"] = json["models"]["stability/sd-4"].clone();
    json["models"]["old/gpt"]["enabled"] = json!(false);
    json["models"]["old/gpt"]["aliases"] = json!(["gpt-4"]);
    json["models"]["old/gpt"]["match"] = json!([{"starts_with": "gpt-3"}]);
    let table = RatioTable::from_json(&json).unwrap();
    let check = |name: &str, expected: Option<(&str, MatchedBy<'_>)>| {
        let resolved = table.resolve(name).map(|found| (found.model.id(), found.by));
        assert_eq!(resolved, expected, "{name:?}");
    };
    let (gpt, sd) = ("openai/gpt-5.1", "stability/sd-4");
    check(gpt, Some((gpt, MatchedBy::Id)));
    check("gpt-5.1", Some((gpt, MatchedBy::Alias)));
    check("gpt-5.1-2026", Some((gpt, MatchedBy::Prefix("gpt-5.1-2026"))));
    check("gpt-5.1-2026-04-01", Some((gpt, MatchedBy::Prefix("gpt-5.1-2026"))));
    check("gpt-5.1-2026-mini-1", Some((sd, MatchedBy::Prefix("gpt-5.1-2026-mini"))));
    check("gpt-5.1-202", Some((sd, MatchedBy::Prefix("gpt"))));
    check("gpt", Some((sd, MatchedBy::Prefix("gpt"))));
    // A disabled model's names don't fall through to the prefix of another.
    for name in ["old/gpt", "gpt-4", "gpt-3.5", "gp", "", "GPT-5.1", "openai/gpt-5.1 ", "gpt-5.1-ü"]
    {
        check(name, None);
    }
    check(&format!("gpt{}", "x".repeat(126)), None);
}

/// Rates `usage` of the first model at noon of 2026-11-22; the model's `parameters` and group are
/// in `with`. Expected: the lines' ratios and credits, the credits charged, or the error.
fn rate(table: &Value, with: &Value, expected: &str) {
    let table = RatioTable::from_json(table).unwrap();
    let field = |name: &str| with.get(name).cloned();
    let rated = table.rate(&Request {
        model: field("model").as_ref().and_then(Value::as_str).unwrap_or("gpt-5.1"),
        usage: &serde_json::from_value(field("usage").unwrap()).unwrap(),
        parameters: &field("parameters")
            .map(|parameters| serde_json::from_value(parameters).unwrap())
            .unwrap_or_default(),
        at: field("at")
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or("2026-11-22T12:00:00Z")
            .parse()
            .unwrap(),
        multiplier: table
            .group(field("group").as_ref().and_then(Value::as_str).unwrap_or("default"))
            .unwrap(),
    });
    let written = match rated {
        Ok(rated) => {
            let lines: Vec<_> = rated
                .lines
                .iter()
                .map(|line| format!("{} {}", line.rate().credits(), line.credits()))
                .collect();
            let minimum = if rated.minimum_applied { " minimum" } else { "" };
            format!("{} = {} -> {}{minimum}", lines.join(" + "), rated.subtotal, rated.credits)
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(written, expected, "{with}");
}

#[test]
fn rating() {
    let table = base();
    let check = |with: Value, expected: &str| rate(&table, &with, expected);
    check(
        json!({"usage": {"input_tokens": 100_000, "output_tokens": 20_000}}),
        "1.25 0.125 + 10 0.2 = 0.325 -> 0.325",
    );
    // The tier is a cliff over the whole request, on the whole prompt, and exclusive here.
    check(
        json!({"usage": {"input_tokens": 100_000, "cache_read_tokens": 100_000}}),
        "0.125 0.0125 + 1.25 0.125 = 0.1375 -> 0.1375",
    );
    check(
        json!({"usage": {"input_tokens": 100_000, "cache_read_tokens": "100000.001"}}),
        "0.125 0.012500000125 + 2.5 0.25 = 0.262500000125 -> 0.2626",
    );
    let batch = json!({"service_class": "batch", "else": "x"});
    let large_batch = json!({"usage": {"input_tokens": 300_000}, "parameters": batch});
    check(large_batch, "1.26 0.378 = 0.378 -> 0.378");
    check(
        json!({"usage": {"input_tokens": 100_000}, "parameters": {"service_class": "flex"}}),
        "1.25 0.125 = 0.125 -> 0.125",
    );
    // The group multiplies lines and minimum.
    check(json!({"usage": {"output_tokens": 1}}), "10 0.00001 = 0.00001 -> 0.01 minimum");
    check(
        json!({"usage": {"output_tokens": 1}, "group": "pro"}),
        "10 0.000009 = 0.000009 -> 0.009 minimum",
    );
    check(json!({"usage": {"output_tokens": 10_000}, "group": "byok"}), "10 0 = 0 -> 0");
    check(json!({"usage": {"output_tokens": 1_000}}), "10 0.01 = 0.01 -> 0.01");
    // Nothing used costs nothing, and needs no price.
    check(json!({"usage": {}}), " = 0 -> 0");
    check(json!({"usage": {"video_seconds": 0, "input_tokens": 0}}), " = 0 -> 0");
    check(
        json!({"usage": {"video_seconds": "0.001"}}),
        "no ratio of model \"openai/gpt-5.1\" prices \"video_seconds\" in this request",
    );
    check(json!({"usage": {}, "model": "gpt-6"}), "unknown model \"gpt-6\"");
    check(
        json!({"usage": {"prompt_tokens": 0}}),
        "prompt_tokens is the sum of the input and cache tokens: give those instead",
    );
    check(
        json!({"usage": {"output_images": 333_333_333}, "model": "stability/sd-4"}),
        "3 999999999 = 999999999 -> 999999999",
    );
    check(
        json!({"usage": {"output_images": 333_333_334}, "model": "stability/sd-4"}),
        "over the limit: at most 10^9 credits a line",
    );
    let many: serde_json::Map<_, _> = (0..33).map(|n| (format!("d{n}"), json!(1))).collect();
    check(json!({"usage": many}), "over the limit: at most 32 dimensions");
}

/// Rates requests `[model, usage]` as one item. Expected: the lines, the sum and the credits, or
/// the error.
fn rate_together(table: &RatioTable, requests: &Value, expected: &str) {
    let read: Vec<(String, Usage)> = serde_json::from_value(requests.clone()).unwrap();
    let parameters = Parameters::new();
    let (at, multiplier) = (Timestamp::MIN, Multiplier::ONE);
    let asked: Vec<_> = read
        .iter()
        .map(|(model, usage)| Request { model, usage, parameters: &parameters, at, multiplier })
        .collect();
    let written = match table.rate_together(&asked) {
        Ok(rated) => {
            let line = |line: &Line| {
                let (model, dimension) = (line.model(), line.dimension());
                format!("{model} {dimension} {} {}", line.quantity(), line.rate().credits())
            };
            let lines: Vec<_> = rated.lines.iter().map(line).collect();
            let minimum = if rated.minimum_applied { " minimum" } else { "" };
            format!("{} = {} -> {}{minimum}", lines.join(" + "), rated.subtotal, rated.credits)
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(written, expected, "{requests}");
}

#[test]
fn requests_rated_together() {
    let row = |dimension: &str, credits: &str| json!({"dimension": dimension, "credits": credits, "per": 1});
    let model =
        |minimum: &str, rows: Value| json!({"feature": "any", "minimum": minimum, "ratios": rows});
    let mut over = row("input_tokens", "0.0006");
    over["when"] = json!({"prompt_tokens": {"gt": 100_000}});
    let rows = json!([row("input_tokens", "0.00012501"), row("out", "0.0006"), over]);
    let table = RatioTable::from_json(&json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1"},
        "features": {"any": {"dimensions": []}},
        "dimensions": {"pictures": {"part_of": ["input_tokens"]}},
        "models": {"a": model("0.5", rows), "b": model("2", json!([row("input_tokens", "1")]))},
    }))
    .unwrap();
    let check = |requests: Value, expected: &str| rate_together(&table, &requests, expected);
    // No prompt is over the border, though all of them together are; what is rounded is the sum.
    check(
        json!([["a", {"input_tokens": 80_000, "out": 2_000}], ["a", {"input_tokens": 30_001}]]),
        "a input_tokens 110001 0.00012501 + a out 2000 0.0006 = 14.95122501 -> 14.9513",
    );
    // One of them is: then there are two rows.
    check(
        json!([["a", {"input_tokens": 100_001}], ["a", {"input_tokens": 10, "pictures": 5}]]),
        "a input_tokens 100001 0.0006 + a input_tokens 15 0.00012501 = 60.00247515 -> 60.0025",
    );
    // Models stay together, in the order in which they come.
    check(
        json!([["b", {"input_tokens": 1}], ["a", {"out": 1}], ["b", {"input_tokens": 2}]]),
        "b input_tokens 3 1 + a out 1 0.0006 = 3.0006 -> 3.0006",
    );
    // The largest minimum of those that something was used of.
    check(json!([["a", {"out": 1}], ["b", {}]]), "a out 1 0.0006 = 0.0006 -> 0.5 minimum");
    check(
        json!([["a", {"out": 1}], ["b", {"input_tokens": 1}]]),
        "a out 1 0.0006 + b input_tokens 1 1 = 1.0006 -> 2 minimum",
    );
    check(json!([["a", {}], ["b", {}]]), " = 0 -> 0");
    // All or nothing.
    check(json!([["a", {"out": 1}], ["c", {}]]), "unknown model \"c\"");
    check(
        json!([["b", {"input_tokens": 900_000_000}], ["b", {"input_tokens": 200_000_000}]]),
        "over the limit: at most 12 digits a quantity and 10^9 credits a line",
    );
}

#[test]
fn dimensions_that_are_parts() {
    let fault = |section: Value, expected: &str| check(&[("/dimensions", section)], expected);
    fault(json!({"a": {"part_of": ["b", "c"]}, "b": {"part_of": ["c"]}}), "ok");
    fault(json!(null), "incomplete\n/dimensions");
    fault(json!([]), "invalid\n/dimensions an object");
    fault(json!({"a": {}}), "incomplete\n/dimensions/a/part_of");
    fault(json!({"a": {"part_of": []}}), "invalid\n/dimensions/a/part_of at least one");
    fault(json!({"a": {"part_of": ["b", "b"]}}), "invalid\n/dimensions/a/part_of/1 twice");
    fault(json!({"A": {"part_of": ["b"]}}), "invalid\n/dimensions/A");
    fault(json!({"a": {"part_of": ["prompt_tokens"]}}), "invalid\n/dimensions/a/part_of/0");
    fault(json!({"a": {"part_of": ["b"], "x": 1}}), "invalid\n/dimensions/a/x unknown");
    fault(json!({"a": {"part_of": ["a"]}}), "invalid\n/dimensions/a itself");
    fault(
        json!({"z": {"part_of": ["a"]}, "a": {"part_of": ["b"]}, "b": {"part_of": ["c", "a"]}}),
        "invalid\n/dimensions/a itself",
    );

    let mut table = edited(&at(&[
        (
            "/dimensions",
            json!({
                "cache_read_audio_tokens": {"part_of": ["input_audio_tokens", "cache_read_tokens"]},
                "input_audio_tokens": {"part_of": ["input_tokens"]},
                "cache_read_tokens": {"part_of": ["input_tokens"]}
            }),
        ),
        // A row that holds only sometimes: else the part is counted as the whole.
        (
            "GPT/ratios/-",
            json!({"dimension": "output_reasoning_tokens", "credits": "20", "per": 1_000_000,
                   "when": {"service_class": "batch"}}),
        ),
    ])
    .iter()
    .map(|(at, value)| (at.as_str(), value.clone()))
    .collect::<Vec<_>>());
    let thinking = json!({"output_tokens": 10_000, "output_reasoning_tokens": 20_000});
    rate(&table, &json!({"usage": thinking}), "10 0.3 = 0.3 -> 0.3");
    rate(
        &table,
        &json!({"usage": thinking, "parameters": {"service_class": "batch"}}),
        "20 0.4 + 10 0.1 = 0.5 -> 0.5",
    );
    // The nearest whole that is priced, in the order that the table gives, and the prompt is what
    // it was.
    let audio = json!({"usage": {"cache_read_audio_tokens": 200_000, "input_tokens": 1_000}});
    rate(&table, &audio, "0.125 0.025 + 2.5 0.0025 = 0.0275 -> 0.0275");
    table["models"]["openai/gpt-5.1"]["ratios"].as_array_mut().unwrap().remove(4);
    rate(&table, &audio, "2.5 0.5025 = 0.5025 -> 0.5025");
    rate(
        &table,
        &json!({"usage": {"output_audio_tokens": 1}}),
        "no ratio of model \"openai/gpt-5.1\" prices \"output_audio_tokens\" in this request",
    );
    let most = json!({"output_tokens": 999_999_999_999_u64, "output_reasoning_tokens": "0.001"});
    rate(&table, &json!({"usage": most}), "over the limit: at most 12 digits a quantity");

    let read = RatioTable::from_json(&table).unwrap();
    let usage = serde_json::from_value(thinking).unwrap();
    let rated = read.rate(&Request {
        model: "gpt-5.1",
        usage: &usage,
        parameters: &Parameters::new(),
        at: Timestamp::MIN,
        multiplier: Multiplier::ONE,
    });
    let line = serde_json::to_value(&rated.unwrap().lines[0]).unwrap();
    assert_eq!(line["quantity"], json!(30_000));
    assert_eq!(line["parts"], json!({"output_reasoning_tokens": 20_000}));
    assert_eq!(RatioTable::from_json(&read.to_json()), Ok(read));
}

#[test]
fn dates_and_times_of_day() {
    let mut table = base();
    let row = |credits: &str, when: Value| json!({"dimension": "output_images", "credits": credits, "per": 1, "when": when});
    let night = json!({"from": "22:00", "until": "06:00"});
    table["models"]["stability/sd-4"]["ratios"] = json!([
        {"dimension": "output_images", "credits": "4", "per": 1},
        row("2", json!({"time_of_day": night})),
        row("3", json!({"from": "2027-01-01T00:00:00Z", "until": "2028-01-01T00:00:00Z"})),
        row("1", json!({"from": "2027-01-01T00:00:00Z", "until": "2028-01-01T00:00:00Z", "time_of_day": night})),
    ]);
    for (at, credits) in [
        ("2026-06-01T21:59:59.999Z", 4),
        ("2026-06-01T22:00:00Z", 2),
        ("2026-06-02T05:59:59.999Z", 2),
        ("2026-06-02T06:00:00Z", 4),
        ("2026-06-02T06:00:00+02:00", 2),
        ("2026-12-31T23:59:59.999Z", 2),
        ("2027-01-01T00:00:00Z", 1),
        ("2027-12-31T12:00:00Z", 3),
        ("2027-12-31T23:59:59.999Z", 1),
        ("2028-01-01T00:00:00Z", 2),
    ] {
        rate(
            &table,
            &json!({"usage": {"output_images": 1}, "model": "stability/sd-4", "at": at}),
            &format!("{credits} {credits} = {credits} -> {credits}"),
        );
    }
}

#[test]
fn rounding() {
    let check = |micros_of_a_micro: i128, scale: u8, expected: [&str; 4]| {
        let exact = Exact::from_scaled(micros_of_a_micro * 10_i128.pow(13)).unwrap();
        let modes = [Rounding::Up, Rounding::Down, Rounding::HalfUp, Rounding::HalfEven];
        let rounded = modes
            .map(|mode| round(exact, CreditRule::new(scale, mode).unwrap()).unwrap().to_string());
        assert_eq!(rounded, expected, "{exact} at {scale}");
    };
    check(1_500_000_000_000, 0, ["2", "1", "2", "2"]);
    check(2_500_000_000_000, 0, ["3", "2", "3", "2"]);
    check(2_500_000_000_001, 0, ["3", "2", "3", "3"]);
    check(2_499_999_999_999, 0, ["3", "2", "2", "2"]);
    check(2_000_000_000_000, 0, ["2", "2", "2", "2"]);
    check(1, 6, ["0.000001", "0", "0", "0"]);
    check(500_000, 6, ["0.000001", "0", "0.000001", "0"]);
    check(1_500_000, 6, ["0.000002", "0.000001", "0.000002", "0.000002"]);
    check(0, 4, ["0", "0", "0", "0"]);
    assert_eq!(CreditRule::new(7, Rounding::Up), None);
    // The most that a rated request can come to, times the largest multiplier.
    let most = Exact::from_scaled(Exact::MAX_LINE.scaled() * 32).unwrap();
    let rule = CreditRule::new(6, Rounding::Up).unwrap();
    assert_eq!(round(most, rule).unwrap().to_string(), "32000000000");
}

#[test]
fn amounts() {
    let ratio = |text: &str, expected: Option<(u64, u8)>| {
        let parsed = text.parse::<Ratio>().ok();
        assert_eq!(parsed.map(Ratio::parts), expected, "{text:?}");
        if let Some((mantissa, scale)) = expected {
            assert_eq!(Ratio::from_parts(mantissa, scale), parsed);
            assert_eq!(parsed.unwrap().to_string().parse(), Ok(parsed.unwrap()));
        }
    };
    ratio("0", Some((0, 0)));
    ratio("0.000", Some((0, 0)));
    ratio("1.250", Some((125, 2)));
    ratio("123456789012", Some((123_456_789_012, 0)));
    ratio("1234567890123", None);
    ratio("1000000000000000", Some((1_000_000_000_000_000, 0)));
    ratio("10000000000000000", None);
    ratio("0.000000000000000001", Some((1, 18)));
    ratio("0.0000000000000000001", None);
    ratio("-0", None);
    for (mantissa, scale) in [(10, 1), (1, 19), (1_234_567_890_123, 0), (0, 1), (u64::MAX, 0)] {
        assert_eq!(Ratio::from_parts(mantissa, scale), None, "{mantissa} {scale}");
    }
    let ratio: Ratio = "1.25".parse().unwrap();
    let multiplier: Multiplier = "0.9999".parse().unwrap();
    assert_eq!(ratio.multiplied(multiplier), "1.249875");
    assert_eq!("9.9999".parse(), Ok(Multiplier::from_ten_thousandths(99_999).unwrap()));
    assert_eq!(Multiplier::from_ten_thousandths(100_000), None);
    assert_eq!(
        (Per::from_units(1), Per::from_units(100), Per::from_units(0)),
        (Some(Per::ONE), Per::from_exponent(2), None)
    );
    // 13 places and six zeros: 19, and a line could not be exact.
    assert_eq!(
        Rate::new(Ratio::from_parts(1, 13).unwrap(), Per::from_exponent(6).unwrap(), None),
        None
    );
}

#[test]
fn lines_as_json_and_rebuilt() {
    let table = RatioTable::from_json(&base()).unwrap();
    let rated = table
        .rate(&Request {
            model: "gpt-5.1-2026-04-01",
            usage: &Usage::from([("input_tokens".to_owned(), "300000.5".parse().unwrap())]),
            parameters: &Parameters::new(),
            at: "2026-11-22T12:00:00Z".parse().unwrap(),
            multiplier: table.group("pro").unwrap(),
        })
        .unwrap();
    let [line] = rated.lines.as_slice() else { panic!("{rated:?}") };
    assert_eq!(
        serde_json::to_value(line).unwrap(),
        json!({
            "model": "openai/gpt-5.1", "dimension": "input_tokens", "quantity": "300000.5",
            "rate": {
                "credits": "2.5", "per": 1_000_000, "when": {"prompt_tokens": {"gt": 200_000}}
            },
            "multiplier": "0.9", "credits": "0.675001125"
        })
    );
    // From what the journal stores.
    let (mantissa, scale) = line.rate().credits().parts();
    let rebuilt = Line::new(
        line.model().to_owned(),
        line.dimension().to_owned(),
        line.quantity(),
        Rate::new(
            Ratio::from_parts(mantissa, scale).unwrap(),
            Per::from_exponent(line.rate().per().exponent()).unwrap(),
            line.rate().when().map(|when| Conditions::from_text(&when.to_text()).unwrap()),
        )
        .unwrap(),
        Multiplier::from_ten_thousandths(line.multiplier().ten_thousandths()).unwrap(),
    );
    assert_eq!(rebuilt.as_ref(), Some(line));
    for bad in ["", "{}", "[]", "{\"a\":1}", "{\"a\":null}", "{\"a\":\"b\"} x"] {
        assert!(Conditions::from_text(bad).is_err(), "{bad}");
    }
}

#[test]
fn canonical_form() {
    let mut json = base();
    json["groups"]["pro"] = json!("0.9000");
    json["models"]["openai/gpt-5.1"]["ratios"][0]["credits"] = json!("1.250");
    json["models"]["stability/sd-4"]["aliases"] = json!([]);
    json["models"]["stability/sd-4"]["minimum"] = json!("0");
    let table = RatioTable::from_json(&json).unwrap();
    let canonical = table.to_json();
    let mut expected = base();
    expected["models"]["stability/sd-4"]["name"] = json!("stability/sd-4");
    expected["models"]["stability/sd-4"]["enabled"] = json!(true);
    assert_eq!(canonical, expected);
    assert_eq!(RatioTable::from_json(&canonical).unwrap(), table);
    assert_eq!(
        table.model_json("stability/sd-4").as_ref(),
        expected.pointer("/models/stability~1sd-4")
    );
    assert_eq!(table.model_json("gpt-5.1"), None);
}

/// By the older of two tables, as far as it has prices.
#[test]
fn a_newer_table_prices_what_an_older_one_does_not() {
    let row = |dimension: &str, credits: &str| json!({"dimension": dimension, "credits": credits, "per": 1});
    let when = |dimension: &str, credits: &str, when: Value| json!({"dimension": dimension, "credits": credits, "per": 1, "when": when});
    let table = |parts: Value, models: Value| {
        RatioTable::from_json(&json!({
            "credit": {"scale": 4, "rounding": "up"},
            "groups": {"default": "1"},
            "features": {"any": {"dimensions": []}},
            "dimensions": parts,
            "models": models,
        }))
        .unwrap()
    };
    let model = |rows: &[Value]| json!({"feature": "any", "ratios": rows});
    let part = |part: &str, of: &str| json!({part: {"part_of": [of]}});
    let old = table(
        part("output_reasoning_tokens", "output_tokens"),
        json!({
            "a": model(&[
                row("input_tokens", "1"),
                when("output_images", "40", json!({"size": "small"})),
                when("web_searches", "2", json!({"until": "2020-01-01T00:00:00Z"})),
            ]),
            "off": {"feature": "any", "enabled": false, "ratios": [row("input_tokens", "1")]},
            "prefix": {"feature": "any", "match": [{"starts_with": "p-"}], "minimum": "50",
                       "ratios": [row("input_tokens", "1")]},
            "renamed": {"feature": "any", "ratios": [row("input_tokens", "1")]},
            "later": {"feature": "any", "ratios": [row("input_tokens", "1")]},
        }),
    );
    let rows = [
        row("input_tokens", "5"),
        row("output_tokens", "7"),
        when("output_images", "60", json!({"size": "large"})),
        when("output_images", "50", json!({"size": "small"})),
        row("web_searches", "10"),
        row("requests", "100"),
    ];
    let mut alias = model(&rows);
    alias["aliases"] = json!(["renamed"]);
    let mut later = model(&rows);
    later["minimum"] = json!("99");
    let new = table(
        json!({
            "output_reasoning_tokens": {"part_of": ["output_tokens"]},
            "input_audio_tokens": {"part_of": ["input_tokens"]},
        }),
        json!({"a": model(&rows), "off": model(&rows), "b": model(&rows), "p-1": model(&rows),
               "other": alias, "later": later}),
    );
    let check = |name: &str, used: &[(&str, u64)], size: &str, expected: &str| {
        let usage: Usage = used
            .iter()
            .map(|(name, n)| ((*name).to_owned(), Quantity::from_whole(*n).unwrap()))
            .collect();
        let parameters = Parameters::from([("size".to_owned(), size.to_owned())]);
        let at = "2026-11-27T00:00:00Z".parse().unwrap();
        let request = Request {
            model: name,
            usage: &usage,
            parameters: &parameters,
            at,
            multiplier: Multiplier::ONE,
        };
        let told = match old.rate_filled(&new, &[[Some(request), Some(request)]]) {
            Ok((rated, by)) => {
                let line = |line: &Line| {
                    format!("{} {} {}", line.model(), line.dimension(), line.rate().credits())
                };
                let lines: Vec<_> = rated.lines.iter().map(line).collect();
                format!("{} {by:?}: {}", rated.credits, lines.join(", "))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected, "{name} {used:?}");
    };
    let input = ("input_tokens", 100);
    check("a", &[input], "", "100 This: a input_tokens 1");
    check("a", &[], "", "0 This: ");
    check(
        "a",
        &[input, ("output_images", 1)],
        "large",
        "160 Both: a input_tokens 1, a output_images 60",
    );
    check(
        "a",
        &[input, ("output_images", 1)],
        "small",
        "140 This: a input_tokens 1, a output_images 40",
    );
    check("a", &[input, ("web_searches", 1)], "", "110 Both: a input_tokens 1, a web_searches 10");
    // What is part of something by either table.
    check(
        "a",
        &[input, ("output_reasoning_tokens", 10)],
        "",
        "170 Both: a input_tokens 1, a output_tokens 7",
    );
    check(
        "a",
        &[input, ("input_audio_tokens", 10)],
        "",
        "150 Both: a input_tokens 1, a input_tokens 5",
    );
    // A price that came later prices nothing that was not used.
    check("a", &[input, ("output_tokens", 1)], "", "107 Both: a input_tokens 1, a output_tokens 7");
    // A name means what it did, whatever model it means by now.
    check("p-1", &[input], "", "100 This: prefix input_tokens 1");
    check("p-1", &[("input_tokens", 3)], "", "50 This: prefix input_tokens 1");
    check(
        "p-1",
        &[input, ("web_searches", 1)],
        "",
        "110 Both: prefix input_tokens 1, p-1 web_searches 10",
    );
    check(
        "renamed",
        &[input, ("web_searches", 1)],
        "",
        "110 Both: renamed input_tokens 1, other web_searches 10",
    );
    // Only the newer one knows it.
    check("b", &[input], "", "500 Newer: b input_tokens 5");
    check("off", &[input], "", "500 Newer: off input_tokens 5");
    // And its minimum is the newer one's.
    check("later", &[("web_searches", 1)], "", "99 Newer: later web_searches 10");
    check(
        "later",
        &[("web_searches", 1), input],
        "",
        "110 Both: later input_tokens 1, later web_searches 10",
    );
    check("a", &[("web_searches", 1)], "", "10 Newer: a web_searches 10");
    // Neither does.
    check("c", &[input], "", "unknown model \"c\"");
    check(
        "a",
        &[input, ("pages", 1)],
        "",
        "no ratio of model \"a\" prices \"pages\" in this request",
    );
}

#[test]
fn models_are_changed_one_by_one() {
    let table = RatioTable::from_json(&base()).unwrap();
    let body = |edit: &dyn Fn(&mut Value)| {
        let mut body = base()["models"]["stability/sd-4"].clone();
        edit(&mut body);
        body
    };
    let check = |id: &str, body: Value, expected: Result<(), &[&str]>| match (
        table.with_model(id, &body),
        expected,
    ) {
        (Ok(changed), Ok(())) => {
            let mut json = table.to_json();
            json["models"][id] = changed.model_json(id).unwrap();
            assert_eq!(RatioTable::from_json(&json), Ok(changed.clone()), "{id} {body}");
            if table.model(id).is_none() {
                assert_eq!(changed.without_model(id).as_ref(), Some(&table), "{id} {body}");
            }
        }
        (Err(error), Err(pointers)) => {
            let found: Vec<_> = error.faults().iter().map(|f| f.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{id} {body} {error}");
        }
        (result, _) => panic!("{id} {body} {result:?}"),
    };
    check("new/model", body(&|_| ()), Ok(()));
    check("new/model", body(&|b| b["aliases"] = json!(["n"])), Ok(()));
    check("stability/sd-4", body(&|b| b["ratios"][0]["credits"] = json!("4")), Ok(()));
    // A model may keep its own names, and not take another's.
    check("openai/gpt-5.1", table.model_json("openai/gpt-5.1").unwrap(), Ok(()));
    check("new/model", body(&|b| b["aliases"] = json!(["m", "gpt-5.1"])), Err(&["/aliases/1"]));
    check("new/model", body(&|b| b["aliases"] = json!(["new/model"])), Err(&["/aliases/0"]));
    check("gpt-5.1", body(&|_| ()), Err(&[""]));
    check("a b", body(&|_| ()), Err(&[""]));
    check("new/model", body(&|b| b["ratios"] = json!([])), Err(&["/ratios"]));
    check("new/model", body(&|b| b["feature"] = Value::Null), Err(&["/feature"]));
    check("new/model", body(&|b| b["feature"] = json!("voice")), Err(&["/feature"]));
    assert_eq!(table.without_model("gpt-5.1"), None);
    let without = table.without_model("openai/gpt-5.1").unwrap();
    assert_eq!(without.resolve("gpt-5.1"), None);
    assert_eq!(without.models().map(Model::id).collect::<Vec<_>>(), ["stability/sd-4"]);
}

#[test]
fn rate_card() {
    let table =
        RatioTable::from_json(&edited(&[("/models/stability~1sd-4/enabled", json!(false))]))
            .unwrap();
    let card = |id: &str, group: &str| {
        table
            .rate_card_model(id, table.group(group).unwrap())
            .map(|model| serde_json::to_value(model).unwrap())
    };
    let gpt = card("openai/gpt-5.1", "pro").unwrap();
    assert_eq!(gpt["minimum"], "0.009");
    assert_eq!(gpt["aliases"], json!(["gpt-5.1"]));
    assert_eq!(
        gpt["ratios"][5],
        json!({"dimension": "output_tokens", "credits": "9", "per": 1_000_000})
    );
    assert_eq!(gpt["ratios"][0]["credits"], "1.125");
    let text = gpt.to_string();
    assert!(!text.contains("cost") && !text.contains("match") && !text.contains("2026"), "{text}");
    assert_eq!(card("openai/gpt-5.1", "byok").unwrap().get("minimum"), None);
    assert_eq!(card("stability/sd-4", "default"), None);
    assert_eq!(card("gpt-5.1", "default"), None);
}

/// The example that the local stack starts with: every model rates what its feature requires.
#[test]
fn example_table() {
    let text = include_str!("../../../../events/ratios.example.json");
    let table = RatioTable::from_json(&serde_json::from_str(text).unwrap())
        .unwrap_or_else(|error| panic!("{:#?}", error.faults()));
    assert!(table.models().len() >= 30);
    let features: BTreeMap<_, _> = table.features().collect();
    for model in table.models().filter(|model| model.enabled()) {
        let thousand = Quantity::from_whole(1_000).unwrap();
        let usage = features[model.feature()].iter().map(|name| (name.clone(), thousand)).collect();
        let request = Request {
            model: model.id(),
            usage: &usage,
            parameters: &Parameters::new(),
            at: "2026-11-22T12:00:00Z".parse().unwrap(),
            multiplier: Multiplier::ONE,
        };
        let rated = table.rate(&request).unwrap_or_else(|error| panic!("{}: {error}", model.id()));
        assert!(rated.credits.is_positive(), "{}: {rated:?}", model.id());
    }
    let mut head = table.to_json();
    head.as_object_mut().unwrap().remove("models");
    assert_eq!(RatioTable::from_published(&head, table.models().cloned()).as_ref(), Ok(&table));
    assert_eq!(RatioTable::from_json(&table.to_json()), Ok(table));
}
