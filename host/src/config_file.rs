//! `config.yml`: distribution's file, read as the variables that it stands
//! for.

use anyhow::{Context as _, bail};
use serde_yaml_ng::Value;
use std::path::Path;

/// Largest configuration file, in bytes.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Reads a configuration file. What the environment says goes before what the
/// file says, as in distribution.
pub fn read(
    path: &Path,
    environment: Vec<(String, String)>,
) -> anyhow::Result<Vec<(String, String)>> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    if size > SIZE_LIMIT {
        bail!("{shown} has {size} bytes; a configuration has at most {SIZE_LIMIT}");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let mut variables = parse(&text).with_context(|| format!("in {shown}"))?;
    variables.retain(|(name, _)| !environment.iter().any(|(set, _)| set == name));
    variables.extend(environment);
    Ok(variables)
}

fn parse(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let value: Value = serde_yaml_ng::from_str(text)?;
    let mut variables = Vec::new();
    if !matches!(value, Value::Mapping(_)) {
        bail!("a configuration is a mapping, as in `http: {{addr: localhost:5000}}`");
    }
    flatten("REGISTRY", &value, &mut variables)?;
    Ok(variables)
}

fn flatten(name: &str, value: &Value, variables: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let text = match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let Value::String(key) = key else { bail!("{name}: keys are text") };
                flatten(&format!("{name}_{}", key.to_uppercase()), value, variables)?;
            }
            return Ok(());
        }
        Value::Sequence(sequence) => {
            for (index, value) in sequence.iter().enumerate() {
                flatten(&format!("{name}_{index}"), value, variables)?;
            }
            return Ok(());
        }
        // A key without a value is a section that holds nothing.
        Value::Null => return Ok(()),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Tagged(_) => bail!("{name}: YAML tags have no meaning here"),
    };
    variables.push((name.to_owned(), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{parse, read};
    use roadstead_config::Config;

    /// The file that the image `registry:2` ships, with the parts that this
    /// registry has no use for.
    const REGISTRY_2: &str = "
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

    #[test]
    fn the_file_of_registry_2() {
        let config = Config::from_variables(parse(REGISTRY_2).unwrap()).unwrap();
        assert_eq!(config.address, "[::]:5000");
        assert_eq!(config.root, Some("/var/lib/registry".into()));
    }

    #[test]
    fn the_environment_goes_first() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), REGISTRY_2).unwrap();
        let environment = vec![("REGISTRY_HTTP_ADDR".to_owned(), "127.0.0.1:1".to_owned())];
        let config = Config::from_variables(read(file.path(), environment).unwrap()).unwrap();
        assert_eq!(config.address, "127.0.0.1:1");
        assert_eq!(config.root, Some("/var/lib/registry".into()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("- a", "a configuration is a mapping"),
            ("http: {addr: [", "flow"),
            ("http: {addr: !x y}", "REGISTRY_HTTP_ADDR: YAML tags"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
        let unknown = Config::from_variables(parse("http: {adr: x}").unwrap()).unwrap_err();
        assert!(unknown.to_string().contains("did you mean REGISTRY_HTTP_ADDR?"), "{unknown}");
    }
}
