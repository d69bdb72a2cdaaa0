"""Our methods inside other programs. Nothing else imports these modules; docs/nerfstudio.md says how they are found."""
