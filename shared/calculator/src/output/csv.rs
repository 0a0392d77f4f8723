//! The rows of a calculation as CSV.

use std::borrow::Cow;

use crate::Calculation;
use crate::output::like_a_formula;

/// The columns.
const COLUMNS: [&str; 13] = [
    "model",
    "provider",
    "feature",
    "dimension",
    "conditions",
    "per",
    "currency",
    "cost",
    "margin",
    "ratio",
    "price",
    "effective_margin",
    "note",
];

/// One line a row of the table, in the order of the models' ids, under a line of the columns'
/// names: RFC 4180 with line feeds. Numbers are plain decimals, conditions are JSON. What could be
/// taken for a formula has an apostrophe in front. Below them come minimums, what was left out, and
/// the warnings: lines of a `note`, with the model that it is about.
pub fn csv(calculation: &Calculation) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let write = |writer: &mut csv::Writer<Vec<u8>>, fields: &[&str]| {
        writer.write_record(fields).expect("as many fields as columns, into memory");
    };
    write(&mut writer, &COLUMNS);
    let currency = &calculation.settings.credit_price.currency;
    for (id, model) in &calculation.models {
        for row in &model.rows {
            let conditions = row.when.as_ref().map(ToString::to_string).unwrap_or_default();
            let effective = row.effective_margin.map(|margin| margin.to_string());
            write(
                &mut writer,
                &[
                    &text(id),
                    &text(&model.provider),
                    &text(&model.feature),
                    &row.dimension,
                    &conditions,
                    &row.per.units().to_string(),
                    currency,
                    &row.cost.to_string(),
                    &model.margin.to_string(),
                    &row.ratio.to_string(),
                    &row.price.to_string(),
                    &effective.unwrap_or_default(),
                    "",
                ],
            );
        }
    }
    let mut note = |model: &str, note: &str| {
        let mut fields = [""; COLUMNS.len()];
        // What was left out was not checked.
        let shown = |text: &str| text.replace(char::is_control, " ");
        let (model, note) = (shown(model), shown(note));
        let (model, note) = (text(&model), text(&note));
        fields[0] = &model;
        fields[COLUMNS.len() - 1] = &note;
        write(&mut writer, &fields);
    };
    for (id, model) in calculation.models.iter().filter(|(_, model)| !model.minimum.is_zero()) {
        note(id, &format!("a request costs at least {} credits", model.minimum));
    }
    for omitted in &calculation.omitted {
        let field = omitted.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
        note(&omitted.model, &format!("{field}{}", omitted.reason));
    }
    for warning in &calculation.warnings {
        note("", &warning.to_string());
    }
    let bytes = writer.into_inner().expect("memory takes everything");
    String::from_utf8(bytes).expect("texts of texts")
}

fn text(text: &str) -> Cow<'_, str> {
    if like_a_formula(text) { format!("'{text}").into() } else { text.into() }
}
