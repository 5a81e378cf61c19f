# The console's own application: single-tenant, so that no token of another tenant is ever issued for it. (A customer can
# assign roles of the multi-tenant application to its own people.)

resource "azuread_application_registration" "console" {
  display_name     = "${var.display_name} (console)"
  sign_in_audience = "AzureADMyOrg"

  # Version 2: the audience of a script's token is the client id, and its issuer the one of the discovery document.
  requested_access_token_version = 2

  implicit_access_token_issuance_enabled = false
  implicit_id_token_issuance_enabled     = false
}

resource "azuread_application_redirect_uris" "console" {
  application_id = azuread_application_registration.console.id
  type           = "Web"
  redirect_uris  = ["${var.public_url}/login/callback"]
}

# Scripts ask for `api://CLIENT_ID/.default`.
resource "azuread_application_identifier_uri" "console" {
  application_id = azuread_application_registration.console.id
  identifier_uri = "api://${azuread_application_registration.console.client_id}"
}

resource "azuread_application_api_access" "console" {
  application_id = azuread_application_registration.console.id
  api_client_id  = data.azuread_service_principal.graph.client_id
  scope_ids      = [for scope in ["openid", "profile"] : data.azuread_service_principal.graph.oauth2_permission_scope_ids[scope]]
}

# Approved for everybody in the home tenant: of an application that is closed to whoever is not assigned, Entra asks nobody.
resource "azuread_service_principal_delegated_permission_grant" "console" {
  service_principal_object_id          = azuread_service_principal.console.object_id
  resource_service_principal_object_id = data.azuread_service_principal.graph.object_id
  claim_values                         = ["openid", "profile"]
}

# For people, and for applications as well: scripts have roles of their own and need nobody's password.
# The ids are any that never change; a role keeps its assignments by them.
resource "azuread_application_app_role" "operator" {
  application_id       = azuread_application_registration.console.id
  role_id              = "8f1f0a0e-5a35-4c0f-9a51-6d6f3a2b7c01"
  value                = "Muster.Operator"
  display_name         = "Operator"
  description          = "May do everything in Muster's console and API."
  allowed_member_types = ["User", "Application"]
}

resource "azuread_application_app_role" "reader" {
  application_id       = azuread_application_registration.console.id
  role_id              = "8f1f0a0e-5a35-4c0f-9a51-6d6f3a2b7c02"
  value                = "Muster.Reader"
  display_name         = "Reader"
  description          = "May look at everything in Muster's console and API, and change nothing."
  allowed_member_types = ["User", "Application"]
}

resource "azuread_service_principal" "console" {
  client_id = azuread_application_registration.console.client_id
  # Closed: who is assigned no role gets no token at all, instead of one that the console must refuse.
  app_role_assignment_required = true

  # A role must be there before it is assigned.
  depends_on = [azuread_application_app_role.operator, azuread_application_app_role.reader]
}

resource "azuread_app_role_assignment" "operator" {
  for_each            = var.operators
  app_role_id         = azuread_application_app_role.operator.role_id
  principal_object_id = each.value
  resource_object_id  = azuread_service_principal.console.object_id
}

resource "azuread_app_role_assignment" "reader" {
  for_each            = var.readers
  app_role_id         = azuread_application_app_role.reader.role_id
  principal_object_id = each.value
  resource_object_id  = azuread_service_principal.console.object_id
}
