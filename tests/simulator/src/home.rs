//! In which of Microsoft's clouds a tenant lives, and what the commercial login says of one that is not its own.

/// What is simulated is the commercial cloud's login; of the others it knows where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Home {
    #[default]
    Commercial,
    /// In the commercial directory, with services of its own.
    Gcc,
    GccHigh,
    Dod,
}

impl Home {
    /// `cloud_instance_name`, `tenant_region_scope` and `tenant_region_sub_scope` of the discovery document. The values of
    /// GCC (azure-docs#84367) and of GCC High (azure-docs#56915) were seen; DoD's stand in public scripts.
    pub(crate) fn scopes(self) -> [Option<&'static str>; 3] {
        match self {
            Self::Commercial => [Some("microsoftonline.com"), None, None],
            Self::Gcc => [Some("microsoftonline.com"), Some("NA"), Some("GCC")],
            Self::GccHigh => [Some("microsoftonline.us"), Some("USGov"), Some("DODCON")],
            Self::Dod => [Some("microsoftonline.us"), Some("USGov"), Some("DOD")],
        }
    }

    /// Where the tenant signs in, if that is not here.
    pub(crate) fn login_elsewhere(self) -> Option<&'static str> {
        match self {
            Self::Commercial | Self::Gcc => None,
            Self::GccHigh | Self::Dod => Some("https://login.microsoftonline.us"),
        }
    }

    pub(crate) fn graph(self) -> &'static str {
        match self {
            Self::Commercial | Self::Gcc => "graph.microsoft.com",
            Self::GccHigh => "graph.microsoft.us",
            Self::Dod => "dod-graph.microsoft.us",
        }
    }
}
