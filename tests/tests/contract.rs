//! What is declared in several places is the same in all of them: routes in the functions, in
//! `template.yaml` and in cargo-lambda's router; the API's description in the code and in
//! `openapi.json`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use serde_json::Value;
use toml_edit::Document;
use uc_local::wiring;
use yaml_rust2::{Yaml, YamlLoader};

/// Method and path of a route, and the function that serves it.
type Routes = BTreeMap<(String, String), String>;

fn root(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn described() -> Value {
    serde_json::from_str(&wiring::description().unwrap()).unwrap()
}

#[test]
fn the_description_is_the_one_in_the_repository() {
    const GOLDEN: &str = "tests/openapi.json";
    let now = wiring::description().unwrap();
    if std::env::var_os("UC_UPDATE").is_some() {
        std::fs::write(root(GOLDEN), &now).unwrap();
    }
    let kept = read(GOLDEN);
    // Only the first difference: both are thousands of lines long.
    let differs = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    if let Some(line) = differs {
        let (kept, now) = (kept.lines().nth(line), now.lines().nth(line));
        panic!("{GOLDEN}:{}: {kept:?} is {now:?} now; UC_UPDATE=1 rewrites it", line + 1);
    }
    assert_eq!(kept.len(), now.len(), "{GOLDEN} ends differently; UC_UPDATE=1 rewrites it");
}

#[test]
fn operations_have_an_id_and_bodies_a_name() {
    let document = described();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut ids = HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place}: no id"));
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(operation["security"].is_array(), "{place} does not say who may");

            let mut bodies = vec![("request".to_owned(), &operation["requestBody"])];
            for (status, response) in operation["responses"].as_object().unwrap() {
                bodies.push((status.clone(), response));
                if status.as_str() >= "400" {
                    let codes = response["x-codes"].as_array();
                    assert!(codes.is_some_and(|c| !c.is_empty()), "{place} {status} has no codes");
                }
            }
            for (what, body) in bodies {
                for (kind, content) in body["content"].as_object().into_iter().flatten() {
                    let name = content["schema"]["$ref"].as_str();
                    assert!(name.is_some(), "{place}: the {kind} of {what} has no name");
                }
            }
        }
    }
    let mut used = HashSet::new();
    references(&document, &mut used);
    for name in used {
        assert!(schemas.contains_key(&name), "there is no schema {name}");
    }
}

/// Every schema that a document refers to.
/// No route answers with a bare text: where two schemas have one name, one of them replaces the
/// other. And of two objects together none forbids what the other has.
#[test]
fn bodies_can_be_what_they_are_described_as() {
    let document = described();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let resolved = |schema: &Value| -> Value {
        let mut schema = schema.clone();
        while let Some(name) = schema["$ref"].as_str() {
            schema = schemas[name.rsplit('/').next().unwrap()].clone();
        }
        schema
    };
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let bodies = operation["responses"].as_object().unwrap().values();
            for body in bodies.chain([&operation["requestBody"]]) {
                let schema = resolved(&body["content"]["application/json"]["schema"]);
                assert_ne!(schema["type"], "string", "{method} {path}");
                seen += usize::from(schema.is_object());
            }
        }
    }
    assert!(seen > 50, "{seen} bodies");
    for (name, schema) in schemas {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            assert_ne!(resolved(part)["additionalProperties"], false, "{name}");
        }
    }
}

fn references(value: &Value, into: &mut HashSet<String>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            into.extend(name.map(|name| name.replace("#/components/schemas/", "")));
            fields.values().for_each(|field| references(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[test]
fn routes_are_the_same_on_every_stack() {
    let functions: Routes = wiring::routes()
        .into_iter()
        .map(|route| ((route.method.to_string(), route.template), route.function))
        .collect();
    assert_eq!(of_template(), functions, "template.yaml (left) and the functions");
    assert_eq!(of_watch(), functions, "Cargo.toml's watch router (left) and the functions");
}

fn template() -> Yaml {
    // The loader reads `!Ref Table` as `Table` and `!If [..]` as a list: enough for what is asked.
    YamlLoader::load_from_str(&read("template.yaml")).unwrap().remove(0)
}

/// A text in the template.
fn text(value: &Yaml) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is not a text"))
}

/// The routes that `template.yaml` makes, followed through integration and function to the name
/// of the binary.
fn of_template() -> Routes {
    let template = template();
    let resources = &template["Resources"];
    let mut routes = Routes::new();
    for (name, resource) in resources.as_hash().unwrap() {
        if resource["Type"].as_str() != Some("AWS::ApiGatewayV2::Route") {
            continue;
        }
        let properties = &resource["Properties"];
        let (method, path) = text(&properties["RouteKey"]).split_once(' ').unwrap();
        let integration = text(&properties["Target"])
            .strip_prefix("integrations/${")
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or_else(|| panic!("{name:?} goes to no integration"));
        let uri = text(&resources[integration]["Properties"]["IntegrationUri"]);
        let function = uri.strip_suffix(".Arn").unwrap();
        let code = text(&resources[function]["Properties"]["CodeUri"]);
        let binary = code.strip_prefix("target/lambda/").unwrap();
        let twice = routes.insert((method.to_owned(), path.to_owned()), binary.to_owned());
        assert_eq!(twice, None, "{method} {path} is there twice");
    }
    routes
}

/// The routes of `cargo lambda watch`.
fn of_watch() -> Routes {
    let workspace = Document::parse(read("Cargo.toml")).unwrap();
    let entries = &workspace["workspace"]["metadata"]["lambda"]["watch"]["router"];
    let mut routes = Routes::new();
    for entry in entries.as_array().unwrap() {
        let entry = entry.as_inline_table().unwrap();
        let field = |name: &str| entry.get(name).and_then(|value| value.as_str()).unwrap();
        for method in entry.get("methods").and_then(|methods| methods.as_array()).unwrap() {
            let method = method.as_str().unwrap();
            let key = (method.to_owned(), field("path").to_owned());
            let twice = routes.insert(key, field("function").to_owned());
            assert_eq!(twice, None, "{method} {} is there twice", field("path"));
        }
    }
    routes
}

#[test]
fn policies_name_what_they_allow() {
    let template = template();
    let mut statements = Vec::new();
    policy_statements(&template, &mut statements);
    // At least one a function, or the search has missed where they are.
    assert!(statements.len() > wiring::descriptions().len());
    let mut actions = BTreeSet::new();
    for statement in statements {
        // The journal is never changed: an update may name the personal data alone, beside an entry
        // or beside usage that waits for its price.
        if texts(&statement["Action"]).contains(&"dynamodb:UpdateItem") {
            let condition = &statement["Condition"];
            let named = &condition["ForAllValues:StringEquals"]["dynamodb:Attributes"];
            assert_eq!(texts(named), ["pk", "sk", "x"], "{statement:?}");
            let keys = &condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
            assert_eq!(texts(keys), ["A#*", "U#*"], "{statement:?}");
            assert_eq!(texts(&statement["Action"]), ["dynamodb:UpdateItem"], "{statement:?}");
        }
        assert_eq!(statement["Effect"].as_str(), Some("Allow"), "{statement:?}");
        assert!(statement["NotAction"].is_badvalue() && statement["NotResource"].is_badvalue());
        for action in texts(&statement["Action"]) {
            assert!(!action.contains('*'), "{action} in {statement:?}");
            actions.insert(action.to_owned());
        }
        // Who may assume a role is said without a resource.
        if statement["Principal"].is_badvalue() {
            let resources = texts(&statement["Resource"]);
            assert!(!resources.is_empty(), "{statement:?}");
            for resource in resources {
                // A prefix of names ends in `*`; what is in front says whose they are.
                let named = resource.trim_end_matches('*');
                assert!(!named.contains('*') && !named.ends_with(':'), "{resource}");
                assert!(named.len() > 1, "{resource} in {statement:?}");
            }
        }
    }
    // Nobody may read all items.
    for action in ["dynamodb:Scan", "dynamodb:BatchWriteItem"] {
        assert!(!actions.contains(action), "{action}");
    }
}

/// Every statement of a policy, wherever it is.
fn policy_statements<'t>(value: &'t Yaml, into: &mut Vec<&'t Yaml>) {
    match value {
        Yaml::Hash(fields) if !value["Effect"].is_badvalue() => {
            assert!(fields.len() > 2, "{value:?}");
            into.push(value);
        }
        Yaml::Hash(fields) => fields.values().for_each(|field| policy_statements(field, into)),
        Yaml::Array(items) => items.iter().for_each(|item| policy_statements(item, into)),
        _ => {}
    }
}

/// One text, or a list of them.
fn texts(value: &Yaml) -> Vec<&str> {
    match value {
        Yaml::Array(items) => items.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

/// A program without tests is not built once more for them: two dozen programs, each with the whole
/// SDK, are minutes. So none may have a test that would never run.
#[test]
fn what_is_not_built_for_tests_has_none() {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root(""))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut untested = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let targets = package["targets"].as_array().unwrap();
        let is = |target: &Value, kind: &str| target["kind"][0] == kind;
        let has_lib = targets.iter().any(|target| is(target, "lib"));
        let programs = targets.iter().filter(|target| is(target, "bin") || is(target, "lib"));
        for target in programs.filter(|target| target["test"] == false) {
            untested += 1;
            let file = PathBuf::from(target["src_path"].as_str().unwrap());
            let mut files = vec![file.clone()];
            if is(target, "lib") || !has_lib {
                files = sources(file.parent().unwrap());
            }
            for file in files {
                let text = std::fs::read_to_string(&file).unwrap();
                let is_other = is(target, "lib")
                    && (file.ends_with("main.rs") || file.parent().unwrap().ends_with("bin"));
                let has_tests = text.contains("#[test]") || text.contains("::test]");
                assert!(is_other || !has_tests, "{}", file.display());
            }
        }
    }
    assert!(untested > 20, "{untested}");
}

/// All Rust files in a directory and below.
fn sources(directory: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = directories.iter().flat_map(|directory| sources(directory));
    files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .chain(below)
        .collect()
}
