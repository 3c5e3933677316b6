//! Settings of a training and of a server: what is read is written and read back.

#![no_main]

use crosstie::config::Config;
use crosstie::spec::ModelSpec;
use crosstie_serve::settings::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(mut config) = Config::parse(text, &[]) {
        // Of keys that do nothing; they are not written.
        config.warnings.clear();
        let written = config.to_toml();
        assert_eq!(Config::parse(&written, &[]).expect("what was written"), config, "{written}");
        let spec = config.spec();
        assert_eq!(ModelSpec::parse(&spec.to_toml()).expect("what was written"), spec);
    }
    if let Ok(settings) = Settings::parse(text)
        && settings.check().is_ok()
    {
        let written = settings.to_commented_toml();
        assert_eq!(Settings::parse(&written).expect("what was written"), settings, "{written}");
    }
});
