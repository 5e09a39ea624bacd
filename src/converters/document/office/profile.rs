//! The settings LibreOffice starts with. They are final: nothing a document says can change them.

use std::io;
use std::path::Path;

/// Component, name, type-free value. Without the first one every start tests the graphics and migrates old settings.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("/org.openoffice.Setup/Product", "ooSetupLastVersion", "7.4"),
    ("/org.openoffice.Setup/Office", "ooSetupInstCompleted", "true"),
    ("/org.openoffice.Office.Common/Security/Scripting", "DisableMacrosExecution", "true"),
    ("/org.openoffice.Office.Common/Security/Scripting", "MacroSecurityLevel", "3"),
    ("/org.openoffice.Office.Common/Security/Scripting", "BlockUntrustedRefererLinks", "true"),
    ("/org.openoffice.Office.Common/Security/Scripting", "DisableActiveContent", "true"),
    ("/org.openoffice.Office.Common/Save/Document", "CreateBackup", "false"),
    ("/org.openoffice.Office.Common/Save/Document", "AutoSave", "false"),
    ("/org.openoffice.Office.Common/Misc", "UseOpenCL", "false"),
    ("/org.openoffice.Office.Common/History", "PickListSize", "0"),
    ("/org.openoffice.Office.Writer/Content/Update", "Link", "2"),
    ("/org.openoffice.Office.Calc/Content/Update", "Link", "2"),
];

/// Writes a user profile below `folder`.
pub fn write(folder: &Path) -> io::Result<()> {
    let items: String = SETTINGS
        .iter()
        .map(|(path, name, value)| {
            format!(r#"<item oor:path="{path}"><prop oor:name="{name}" oor:op="fuse" oor:finalized="true"><value>{value}</value></prop></item>"#)
        })
        .collect();
    let user = folder.join("user");
    std::fs::create_dir_all(&user)?;
    let head = r#"<?xml version="1.0" encoding="UTF-8"?><oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">"#;
    std::fs::write(user.join("registrymodifications.xcu"), format!("{head}{items}</oor:items>"))
}
