//! `log`.

use super::kinds::{Below, Choice, Flag, Leaf, Tree};
use super::{Scope, Setting, State, table};
use crate::{AccessFormat, LogFormat, LogLevel};

table! {
    LOG_TABLE:

    LOG_LEVEL: Choice<LogLevel> = Setting::new(
        "log.level",
        Scope::Both,
        Choice {
            default: LogLevel::Info,
            words: &[
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
            ],
            also: &[("warning", LogLevel::Warn), ("trace", LogLevel::Debug)],
            refused: &[],
            boolean: None,
            blank: false,
        },
        "How much is logged, to standard error.",
    )
    .help("error, warn, info or debug");

    LOG_FORMATTER: Choice<LogFormat> = Setting::new(
        "log.formatter",
        Scope::Host,
        Choice {
            default: LogFormat::Auto,
            words: &[
                ("auto", LogFormat::Auto),
                ("text", LogFormat::Text),
                ("json", LogFormat::Json),
            ],
            also: &[("logstash", LogFormat::Json)],
            refused: &[],
            boolean: None,
            blank: false,
        },
        "The format of log lines: text for people, or one JSON object a line. `auto` is text on a \
         terminal, and JSON elsewhere.",
    )
    .help("auto, text or json")
    .differs("`logstash` is the same as `json`, and the default is `auto`, not `text`");

    LOG_ACCESSLOG_DISABLED: Flag = Setting::new(
        "log.accesslog.disabled",
        Scope::Host,
        Flag(false),
        "`true`: requests are not logged.",
    )
    .help("true: requests are not logged")
    .differs(
        "the access log has the format of all other lines, unless `log.accesslog.formatter` is \
         `combined`, and goes to standard error",
    );

    LOG_ACCESSLOG_FORMATTER: Choice<AccessFormat> = Setting::new(
        "log.accesslog.formatter",
        Scope::Host,
        Choice {
            default: AccessFormat::Same,
            words: &[("same", AccessFormat::Same), ("combined", AccessFormat::Combined)],
            also: &[],
            refused: &[],
            boolean: None,
            blank: true,
        },
        "The format of the lines of requests: the same as that of all other lines, or Apache's \
         Combined Log Format, which distribution has.",
    )
    .ours();

    FIELDS: Below = Setting::ignored("log.fields", "log lines have no such fields", Below(&["*"]));
    REPORTCALLER: Leaf = Setting::ignored(
        "log.reportcaller",
        "log lines do not name their place in the source",
        Leaf,
    );
    HOOKS: Tree = Setting::unused(
        "log.hooks",
        State::IgnoredWithWarning("logs go to standard error; send mail from there", |_| false),
        Tree(&["type", "disabled", "levels", "options"]),
    );
    LOGLEVEL: Leaf = Setting::unused("loglevel", State::Deprecated(&LOG_LEVEL.row), Leaf);
}
