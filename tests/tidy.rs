//! The repository's own rules, each with its reason. What a reviewer would have to say twice, a test says.

#[cfg(test)]
mod repository {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    /// One file of the repository: its path from the root, with `/`, and its text.
    pub struct Source {
        pub path: String,
        pub text: String,
    }

    impl Source {
        /// The text without the tests at its end, which may use whatever they like.
        pub fn without_tests(&self) -> &str {
            self.text.split("#[cfg(test)]").next().unwrap()
        }

        /// The lines that are not comments, each with its number.
        pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
            let lines = self.text.lines().enumerate().map(|(number, line)| (number + 1, line));
            lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
        }

        pub fn is_under(&self, folders: &[&str]) -> bool {
            folders.iter().any(|folder| self.path.starts_with(folder))
        }
    }

    pub fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
    }

    pub fn text(path: &str) -> String {
        fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
    }

    /// What `.gitignore` names: products of builds and tests, nobody's to tidy.
    pub fn ignored() -> BTreeSet<String> {
        text(".gitignore").lines().map(|line| line.trim_matches('/').to_owned()).collect()
    }

    fn walk(folder: &Path, found: &mut Vec<PathBuf>, ignored: &BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') || ignored.contains(&name) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found, ignored);
            } else {
                found.push(entry.path());
            }
        }
    }

    /// Every file whose name ends so, in the order of their paths.
    pub fn files(ending: &str) -> Vec<Source> {
        let root = root();
        let mut found = Vec::new();
        walk(&root, &mut found, &ignored());
        let mut paths: Vec<String> = found
            .iter()
            .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"))
            .filter(|path| path.ends_with(ending))
            .collect();
        paths.sort();
        paths.into_iter().map(|path| Source { text: text(&path), path }).collect()
    }

    pub fn sources() -> Vec<Source> {
        let sources = files(".rs");
        assert!(sources.len() > 50, "only {} sources were found, so nothing would be checked", sources.len());
        sources
    }

    pub fn sources_under(folders: &[&str]) -> Vec<Source> {
        let sources: Vec<Source> = sources().into_iter().filter(|source| source.is_under(folders)).collect();
        for folder in folders {
            assert!(sources.iter().any(|source| source.is_under(&[folder])), "nothing lies under {folder}");
        }
        sources
    }

    /// Asserts that a rule found nothing, and prints everything it found.
    #[track_caller]
    pub fn holds(reason: &str, violations: impl IntoIterator<Item = String>) {
        let violations: Vec<String> = violations.into_iter().collect();
        assert!(violations.is_empty(), "{reason}\n  {}", violations.join("\n  "));
    }

    /// Every line of code in which one of these words stands.
    pub fn lines_with<'a>(sources: &'a [Source], words: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
        sources.iter().flat_map(move |source| {
            let hits = source.code().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
            hits.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
        })
    }

    /// A manifest's tables of dependencies: (table, name, what follows the name).
    pub fn dependencies(manifest: &str) -> Vec<(String, String, String)> {
        let mut table = String::new();
        let mut found = Vec::new();
        for line in manifest.lines().map(|line| line.split('#').next().unwrap().trim()) {
            if let Some(name) = line.strip_prefix('[') {
                table = name.trim_matches(['[', ']']).to_owned();
                // A table for one dependency alone, `[dependencies.name]`.
                if let Some((tables, name)) = table.rsplit_once("dependencies.") {
                    found.push((format!("{tables}dependencies"), name.to_owned(), " as a table of its own".to_owned()));
                }
            } else if table.ends_with("dependencies")
                && let Some(end) = line.find(['.', '=', ' '])
            {
                found.push((table.clone(), line[..end].trim_matches('"').to_owned(), line[end..].to_owned()));
            }
        }
        found
    }

    /// What a source names of its own crate: the first two segments of each path after `crate::`.
    pub fn named_of_own_crate(text: &str) -> BTreeSet<String> {
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let mut names = BTreeSet::new();
        for part in code.split("crate::").skip(1) {
            if let Some(group) = part.strip_prefix('{') {
                let (mut depth, mut item) = (0, String::new());
                for letter in group.chars() {
                    match letter {
                        '}' if depth == 0 => break,
                        ',' if depth == 0 => names.insert(two_segments(&std::mem::take(&mut item))),
                        _ => {
                            depth += i32::from(letter == '{') - i32::from(letter == '}');
                            item.push(letter);
                            false
                        }
                    };
                }
                names.insert(two_segments(&item));
            } else {
                names.insert(two_segments(part));
            }
        }
        names.remove("");
        names
    }

    fn two_segments(path: &str) -> String {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
        let path: String = path.trim().chars().take_while(|letter| is_name(*letter)).collect();
        path.split("::").filter(|segment| !segment.is_empty()).take(2).collect::<Vec<_>>().join("::")
    }

    /// Every word of capitals that begins with `MUSTER_`.
    pub fn settings(text: &str) -> BTreeSet<String> {
        let word = |rest: &str| -> String {
            rest.chars().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').collect()
        };
        text.split("\"MUSTER_").skip(1).map(|rest| format!("MUSTER_{}", word(rest))).collect()
    }
}

#[cfg(test)]
mod rules {
    use std::{collections::BTreeSet, fs, process::Command};

    use harness::functions;
    use shared::metrics::Metric;

    use super::repository::{
        dependencies, files, holds, ignored, lines_with, named_of_own_crate, root, settings, sources, sources_under,
        text,
    };

    /// This file names what it forbids.
    const ITSELF: &str = "tests/tidy.rs";

    #[test]
    fn every_file_says_first_what_it_is() {
        let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
        holds("A file begins with `//!` and a sentence.", silent.map(|source| source.path));
    }

    #[test]
    fn nobody_leaves_unfinished_or_switched_off_code_behind() {
        let sources: Vec<_> = sources().into_iter().filter(|source| source.path != ITSELF).collect();
        let words = ["#[ignore", "todo!", "unimplemented!", "dbg!"];
        holds("A test runs or is deleted; code is finished or absent.", lines_with(&sources, &words));
    }

    #[test]
    fn a_lint_is_expected_with_a_reason_and_never_just_allowed() {
        let sources: Vec<_> = sources().into_iter().filter(|source| source.path != ITSELF).collect();
        let allowed = lines_with(&sources, &["#[allow(", "#![allow("]);
        holds("`#[expect(…, reason = \"…\")]` goes away with its cause; `allow` stays.", allowed);
        let without_reason = sources.iter().flat_map(|source| {
            let attributes = source.text.split("[expect(").skip(1);
            let silent = attributes.filter(|rest| !rest.split(")]").next().unwrap().contains("reason = \""));
            silent.map(|rest| format!("{}: {}", source.path, rest.lines().next().unwrap()))
        });
        holds("An exception says why.", without_reason);
    }

    #[test]
    fn only_http_names_the_http_client() {
        let mut others = sources_under(&["shared/src/", "functions/", "infra/"]);
        others.retain(|source| source.path != "shared/src/http.rs");
        holds(
            "Every request goes through `shared::http`, where a bearer token is kept to the configured origins.",
            lines_with(&others, &["reqwest"]),
        );
        assert!(text("shared/src/http.rs").contains("reqwest"), "the client has moved; move the rule");
    }

    #[test]
    fn only_aws_names_the_aws_sdk() {
        let mut others = sources();
        others.retain(|source| !source.is_under(&["infra/aws/ports/", "tests/contract/aws.rs", ITSELF]));
        holds("AWS is behind the ports; an operation runs anywhere.", lines_with(&others, &["aws_sdk_", "aws_config"]));
    }

    #[test]
    fn layers_point_one_way() {
        // What each layer may name of its own crate. Operations (tenant, alert, record, batch) are above them all.
        let tools: &[&str] = &["clock", "plain", "random", "secret"];
        let protocol: &[&str] = &[
            "clock",
            "cloud",
            "config",
            "credential",
            "http",
            "microsoft",
            "plain",
            "ports",
            "random",
            "secret",
            "storage",
            "tenant::TenantId",
        ];
        let entry: &[&str] = &["microsoft", "secret"];
        // The tenant's id alone: whose application it is.
        let decision: &[&str] = &["microsoft", "ports::vault", "secret", "tenant::TenantId"];
        let inside: &[&str] = &["credential", "microsoft", "ports::vault", "secret"];
        let layers = [
            ("shared/src/http", tools, "the client knows requests, not what they are for"),
            ("shared/src/ports", tools, "a port says what the platform can do, not what we do with it"),
            // The tenant's id alone: a token is for one tenant, whatever state that is in.
            ("shared/src/microsoft", protocol, "a protocol is the same whatever is done with its answers"),
            ("shared/src/credential.rs", tools, "an entry of the vault is data"),
            ("shared/src/credential/entry.rs", entry, "an entry of the vault is data"),
            ("shared/src/credential/ownership.rs", decision, "what is ours is decided from what was read"),
            ("shared/src/credential/rotation.rs", decision, "what comes next is decided here and done elsewhere"),
            (
                "shared/src/credential/rotation/state.rs",
                inside,
                "what an answer changes is decided, and the call made elsewhere",
            ),
            ("shared/src/credential/rotation/step.rs", inside, "words are data"),
            ("shared/src/credential/check.rs", decision, "what is found is data"),
            ("shared/src/credential/check/examine.rs", inside, "what is found is decided here and gathered elsewhere"),
            ("shared/src/cloud", &[], "a fact of Microsoft's stands below everything"),
            ("shared/src/config", &["cloud", "plain", "storage"], "settings are read before anything else is there"),
            ("shared/src/clock", &[], "time stands below everything"),
            ("shared/src/log", &[], "so does what everybody says"),
            ("shared/src/metrics", &[], "a number is a number, whatever it counts"),
            ("shared/src/secret", &[], "so does secrecy"),
            ("shared/src/storage", &[], "a name is text"),
        ];
        let mut violations = Vec::new();
        for (layer, allowed, reason) in layers {
            for source in sources_under(&[layer]) {
                for name in named_of_own_crate(source.without_tests()) {
                    let fits = |allowed: &&str| name == **allowed || name.starts_with(&format!("{allowed}::"));
                    if !allowed.iter().any(fits) {
                        violations.push(format!("{} names crate::{name}; {reason}", source.path));
                    }
                }
            }
        }
        holds("Layers point one way: functions → operations → ports and microsoft → http.", violations);
    }

    #[test]
    fn simulator_and_laboratory_share_nothing_with_the_product_nor_with_each_other() {
        let root = dependencies(&text("Cargo.toml"));
        let members = root.iter().filter(|(_, _, rest)| rest.contains("path =")).map(|(_, name, _)| name.as_str());
        let members: BTreeSet<&str> = members.collect();
        assert!(members.len() >= 9, "only {members:?} were found");
        let ours = ["tests/simulator", "tests/laboratory"].into_iter().flat_map(|folder| {
            let all = dependencies(&text(&format!("{folder}/Cargo.toml")));
            let ours =
                all.into_iter().filter(|(_, name, rest)| members.contains(name.as_str()) || rest.contains("path"));
            ours.map(move |(_, name, _)| format!("{folder}/Cargo.toml depends on {name}"))
        });
        holds("What stands in for Microsoft or for AWS and shares our code shares our misreadings.", ours);
        let reaching = sources_under(&["tests/simulator/", "tests/laboratory/"]);
        holds("Nor does it borrow a file.", lines_with(&reaching, &["#[path", "shared/src", "infra/", "functions/"]));
    }

    #[test]
    fn a_handler_opens_with_its_card() {
        const CARD: [&str; 5] = ["Trigger", "Reads", "Writes", "Idempotency", "On failure"];
        let mut violations = Vec::new();
        for function in functions() {
            let handler = text(&format!("functions/{function}/src/handler.rs"));
            let card: Vec<&str> = handler
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .filter_map(|line| line.strip_prefix("//! - **")?.split_once("**: ").map(|(title, _)| title))
                .collect();
            if card != CARD {
                violations.push(format!("functions/{function}/src/handler.rs has {card:?}"));
            }
        }
        holds("Who is woken at night reads five lines: Trigger, Reads, Writes, Idempotency, On failure.", violations);
    }

    #[test]
    fn a_function_is_small() {
        let handlers = sources_under(&["functions/"]);
        let machinery = ["reqwest", "rusqlite", "aws_sdk", "loop {", "while "];
        holds(
            "A handler makes one call; what loops or talks to a service is `shared`'s.",
            lines_with(&handlers, &machinery),
        );
        let long = functions().into_iter().filter_map(|function| {
            let lines = text(&format!("functions/{function}/src/main.rs")).lines().count();
            (lines > 45).then(|| format!("functions/{function}/src/main.rs has {lines} lines"))
        });
        holds("`main.rs` is logging, configuration, connect, run.", long);
    }

    #[test]
    fn a_function_depends_on_little() {
        const ALLOWED: [&str; 10] = [
            "aws",
            "aws_lambda_events",
            "jiff",
            "lambda_runtime",
            "serde",
            "serde_json",
            "shared",
            "thiserror",
            "tokio",
            "tracing",
        ];
        let others = functions().into_iter().flat_map(|function| {
            let path = format!("functions/{function}/Cargo.toml");
            let names = dependencies(&text(&path)).into_iter().map(|(_, name, _)| name);
            let others: Vec<String> = names.filter(|name| !ALLOWED.contains(&name.as_str())).collect();
            others.into_iter().map(move |name| format!("{path} depends on {name}"))
        });
        holds("What a function needs beyond these belongs to `shared`.", others);
    }

    #[test]
    fn only_the_clock_asks_what_time_it_is() {
        let mut others = sources_under(&["shared/src/"]);
        others.retain(|source| source.path != "shared/src/clock.rs");
        let words = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"];
        holds("Decisions take `now` as an argument, so that tests can move it.", lines_with(&others, &words));
    }

    /// Or its lines would be taken for a library's, and only be heard when they warn.
    #[test]
    fn the_log_knows_every_crate_of_ours() {
        let manifests =
            files("Cargo.toml").into_iter().filter(|file| file.is_under(&["functions/", "shared/", "infra/"]));
        let names = manifests.flat_map(|file| {
            let name = |line: &str| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.replace('-', "_"));
            file.text.lines().filter_map(name).collect::<Vec<_>>()
        });
        let names: BTreeSet<String> = names.collect();
        assert!(names.len() >= 7, "only {names:?} were found");
        let log = text("shared/src/log.rs");
        let unknown = names.into_iter().filter(|name| !log.contains(&format!("    \"{name}\",\n")));
        holds("`OURS` in shared/src/log.rs names every crate that ships.", unknown);
    }

    #[test]
    fn only_metrics_and_logs_are_printed() {
        let mut others = sources_under(&["functions/", "shared/src/"]);
        others.retain(|source| !source.is_under(&["shared/src/log.rs", "shared/src/metrics.rs"]));
        let words = ["stdout(", "stderr(", " print!(", " println!(", " eprint!("];
        holds("A function's standard output is its log, line by line.", lines_with(&others, &words));
    }

    #[test]
    fn tests_move_time_by_hand() {
        let sources = sources_under(&["tests/scenario/", "tests/fault/", "tests/contract/", "tests/harness/"]);
        holds("A test that sleeps is slow today and fails tomorrow.", lines_with(&sources, &["sleep("]));
    }

    const ONE_OF_EACH: &str = "TLS is rustls on aws-lc-rs, HTTP is hyper 1, time is jiff; a second of each is size, and twice \
                               the advisories.";

    #[test]
    fn one_tls_stack_and_one_http_library_are_locked() {
        let unwanted = |name: &str, version: &str| match name {
            "openssl" | "openssl-sys" | "native-tls" => true,
            "hyper" => version.starts_with("0."),
            "rustls" => version.starts_with("0.21.") || version.starts_with("0.20."),
            _ => false,
        };
        let lock = text("Cargo.lock");
        let packages: Vec<(&str, &str)> = lock
            .split("[[package]]")
            .skip(1)
            .map(|package| {
                let field = |name: &str| {
                    let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
                    line.and_then(|rest| rest.strip_suffix('"')).unwrap()
                };
                (field("name"), field("version"))
            })
            .collect();
        assert!(packages.iter().any(|(name, _)| *name == "aws-lc-rs"), "Cargo.lock was not understood");
        let found = packages.into_iter().filter(|(name, version)| unwanted(name, version));
        holds(ONE_OF_EACH, found.map(|(name, version)| format!("Cargo.lock has {name} {version}")));
    }

    /// Cargo locks what optional features that nobody switches on would need; these are forbidden where they are built.
    #[test]
    fn one_crypto_library_and_one_time_crate_are_built() {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--workspace", "--edges", "normal,build,dev", "--prefix", "none"])
            .args(["--format", "{p}"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        let built: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(built.contains("aws-lc-rs"), "cargo tree was not understood");
        let found = ["ring", "chrono", "openssl-sys", "native-tls"].into_iter().filter(|name| built.contains(name));
        holds(ONE_OF_EACH, found.map(|name| format!("{name} is built; ask `cargo tree --invert {name}`")));
    }

    #[test]
    fn versions_stand_once_in_the_root_manifest() {
        let members: Vec<_> = files("Cargo.toml").into_iter().filter(|file| file.path != "Cargo.toml").collect();
        assert!(members.len() >= 7, "only {} members were found", members.len());
        let violations = members.iter().flat_map(|member| {
            let own = dependencies(&member.text).into_iter().filter(|(_, _, rest)| {
                let rest = rest.replace(' ', "");
                rest != ".workspace=true" && !(rest.contains("workspace=true") || rest.contains("path="))
            });
            own.map(|(table, name, rest)| format!("{}: [{table}] {name}{rest}", member.path))
        });
        holds("Two members on two versions of one crate are two crates.", violations);
        assert!(dependencies(&text("Cargo.toml")).len() > 30, "the root manifest was not understood");
    }

    #[test]
    fn the_top_level_is_a_table_of_contents() {
        const EXPECTED: [&str; 14] = [
            "Cargo.toml",
            "Cargo.lock",
            "functions",
            "shared",
            "infra",
            "tests",
            "Makefile",
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "LICENSE",
            "clippy.toml",
            "rustfmt.toml",
            "rust-toolchain.toml",
        ];
        const FURTHER: [&str; 6] = ["deny.toml", ".gitignore", ".cargo", ".ci", ".git", ".config"];
        let ignored = ignored();
        let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let known = |name: &String| {
            EXPECTED.contains(&name.as_str()) || FURTHER.contains(&name.as_str()) || ignored.contains(name)
        };
        holds("A stranger finds the room they need in a minute.", entries.filter(|name| !known(name)));
    }

    #[test]
    fn every_pain_of_the_other_connectors_has_a_test_named_after_it() {
        // The numbers of the pains that what is built so far can suffer.
        const COVERED: [u8; 19] = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 18, 22, 23, 25];
        let mut tests = sources_under(&["tests/", "shared/src/"]);
        tests.retain(|source| source.path != ITSELF);
        let named = |pain: u8| {
            let name = format!("pain_{pain:02}_");
            tests.iter().any(|source| {
                let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
                let is_test = |number: usize| lines[..number].iter().rev().take(3).any(|line| line.contains("test]"));
                let function = |line: &str| line.split_once("fn ").is_some_and(|(_, rest)| rest.contains(&name));
                (0..lines.len()).any(|number| function(lines[number]) && is_test(number))
            })
        };
        let forgotten = COVERED.into_iter().filter(|pain| !named(*pain));
        holds("What others' users suffered is tested here by name.", forgotten.map(|pain| format!("pain_{pain:02}")));
    }

    #[test]
    fn the_template_deploys_every_function_with_every_setting() {
        let template = text("infra/aws/template.yaml");
        let packaged = |function: &String| template.contains(&format!("${{ArtifactPrefix}}/{function}.zip"));
        let missing = functions().into_iter().filter(|function| !packaged(function));
        holds("What is built is deployed.", missing);

        let sources = ["shared/src/config.rs", "infra/aws/ports/src/settings.rs"].map(text);
        let read = sources.iter().flat_map(|source| settings(source.split("#[cfg(test)]").next().unwrap()));
        let read: BTreeSet<String> = read.collect();
        assert!(read.len() >= 12, "only {read:?} were found");
        let keys = template.lines().filter_map(|line| line.trim_start().split_once(": ")).map(|(key, _)| key);
        let given: Vec<&str> = keys.filter(|key| key.starts_with("MUSTER_")).collect();
        let names: BTreeSet<&str> = read.iter().map(String::as_str).chain(given.iter().copied()).collect();
        let wrong = names.into_iter().filter_map(|name| {
            let times = given.iter().filter(|key| **key == name).count();
            let expected = if read.contains(name) { functions().len() } else { 0 };
            (times != expected).then(|| format!("{name} is given {times} times instead of {expected}"))
        });
        holds("Functions have one environment: what the code reads, no less and no more.", wrong);
    }

    #[test]
    fn the_templates_first_resources_are_those_that_outlive_a_stack() {
        let template = text("infra/aws/template.yaml");
        let resources = template.split_once("\nResources:\n").unwrap().1;
        // The recipe in infra/aws/README.md cuts here, and imports what stands above.
        let kept = resources.split_once("\n  LakePolicy:\n").unwrap().0;
        let types: Vec<&str> = kept.lines().filter_map(|line| line.strip_prefix("    Type: ")).collect();
        assert_eq!(types, ["AWS::DynamoDB::Table", "AWS::S3::Bucket"], "What is imported is the table and the lake.");
        let policies: Vec<&str> = kept.lines().filter_map(|line| line.strip_prefix("    DeletionPolicy: ")).collect();
        assert_eq!(policies, ["Retain", "RetainExceptOnCreate"], "Both stay when the stack goes.");
        let readme = text("infra/aws/README.md");
        assert!(
            readme.contains("sed '/^  LakePolicy:/,$d' infra/aws/template.yaml"),
            "the recipe has changed; change this"
        );
    }

    #[test]
    fn every_alarm_has_its_row_in_the_runbook() {
        let template = text("infra/aws/template.yaml");
        let name = |line: &str| {
            line.split_once("AlarmName: {\"Fn::Sub\": \"${AWS::StackName}-")?.1.split('"').next().map(str::to_owned)
        };
        let alarms: Vec<String> = template.lines().filter_map(name).collect();
        assert!(alarms.len() >= 18, "only {alarms:?} were found");
        let readme = text("infra/aws/README.md");
        let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
        let missing = alarms.into_iter().filter(|alarm| !rows.iter().any(|row| row.contains(&format!("`{alarm}`"))));
        holds("Who is woken at night finds the alarm's name, its meaning and the next step.", missing);
    }

    #[test]
    fn the_readme_names_every_setting() {
        let config = text("shared/src/config.rs");
        let read = settings(config.split("#[cfg(test)]").next().unwrap());
        assert!(read.len() >= 9, "only {read:?} were found");
        let readme = text("README.md");
        // A longer name does not stand for a shorter one that it begins with.
        let is_letter = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        let named: BTreeSet<&str> = readme.split(|letter: char| !is_letter(letter)).collect();
        let silent = read.iter().filter(|setting| !named.contains(setting.as_str()));
        holds("A setting that the README does not name is found by accident.", silent.cloned());
    }

    #[test]
    fn the_readme_says_of_every_metric_what_it_means() {
        let readme = text("README.md");
        let table = readme.split_once("\n| metric | unit | says |\n|---|---|---|\n").unwrap().1;
        let rows = table.lines().take_while(|line| line.starts_with('|'));
        let told = rows.flat_map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let (names, unit) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            names.split(", ").map(|name| (name.trim_matches('`').to_owned(), unit.to_owned())).collect::<Vec<_>>()
        });
        let told: Vec<(String, String)> = told.collect();
        let row = |metric: &Metric| (metric.name().to_owned(), metric.unit().to_owned());
        let measured: Vec<(String, String)> = Metric::ALL.iter().map(row).collect();
        let silent = measured.iter().filter(|row| !told.contains(row)).map(|(name, _)| format!("nothing of {name}"));
        let invented =
            told.iter().filter(|row| !measured.contains(row)).map(|(name, _)| format!("{name}, in this unit"));
        holds("Who reads an alarm finds its metric in the README, by name and unit.", silent.chain(invented));
    }
}
